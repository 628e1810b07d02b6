# What other extension modules use of serving: its registry, and the predict path as a table of C++ functions.
from ovms._native.libserving cimport CRegistry, DataPlane


cdef class Registry:
    cdef CRegistry registry


cdef DataPlane data_plane(Registry registry)
