"""Where the outside meets the program: names, paths, documents, images and errors are checked here once, for every command."""
