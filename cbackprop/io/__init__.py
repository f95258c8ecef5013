"""Reading and writing: tables of data, model files and other formats."""
