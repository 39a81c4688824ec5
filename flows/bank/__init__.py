"""Bank flows: import a file, sweep the drop folder, match."""
