# What opening an arena does with its batches.
from ingestd.hotpath.directory cimport Directory


# Brings the directory of a freshly mapped arena into order and derives everything that is not in the file; returns a
# list of Damage.
cdef list recover(Directory arena)
