"""The data of the handbook: csv files, their codebook (datapackage.json) and their generators."""
