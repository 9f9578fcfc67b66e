"""Search with several processes: a chief that decides, and workers that train."""
