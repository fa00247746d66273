collect_ignore = ['users']  # read by type checkers, not run
