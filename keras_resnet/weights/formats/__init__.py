"""Files of weights, a module a format; `read` tells them apart.

Empty, so that the process that explores an HDF5 file imports no more than it needs.
"""
