"""S2VG's frame matrix (arXiv 2508.08048) on SVD: holes filled without any training."""
