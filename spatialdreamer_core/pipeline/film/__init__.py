"""Whole films: scene by scene, finished segments on disk, and a manifest by which a killed run goes on.

`plan` finds scenes and cuts them into segments, `source` reads the film and its depth for one of them,
`segment` converts it to a file, `folder` keeps files and manifest, `join` makes the film of them, and
`convert` puts all of that together. On several machines or GPUs `spread` hands segments to the `worker`s of a
`cluster`.
"""
