"""What lies under all data sets: files, downloads, ids and problems."""
