"""The page on a data set: what is in it, and whether features tell anything."""
