"""What a user-item graph must be: the parts of ``pyg_ckd.graph.check``."""
