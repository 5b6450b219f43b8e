from .small_film import film

__all__ = ["film"]  # the fixture of most tests here
