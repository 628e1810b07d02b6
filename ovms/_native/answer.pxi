"""How C++ writes an answer into a bytes object. A part of the modules that include it."""

cdef extern from "Python.h":
    ctypedef struct PyObject
    void Py_INCREF(object)
    void Py_DECREF(object)
    Py_ssize_t PyBytes_GET_SIZE(object)
    int _PyBytes_Resize(PyObject**, Py_ssize_t) except -1


# Answers up to this size are packed on the stack and copied once the GIL is back: cheaper than taking the GIL in the
# middle of a call for their memory. Larger ones are packed straight into the bytes object that is returned.
cdef enum:
    SMALL = 16384


cdef struct Answer:
    uint8_t* small
    size_t size
    void* large


cdef uint8_t* _allocate_large(Answer* answer, size_t size) noexcept with gil:
    try:
        result = PyBytes_FromStringAndSize(NULL, size)
    except MemoryError:
        return NULL
    Py_INCREF(result)
    answer.large = <void*>result
    return <uint8_t*>PyBytes_AS_STRING(result)


cdef uint8_t* _allocate(void* context, size_t size) noexcept nogil:
    cdef Answer* answer = <Answer*>context
    answer.size = size
    if size <= SMALL:
        return answer.small
    return _allocate_large(answer, size)


cdef void _shrink(void* context, size_t size) noexcept nogil:
    (<Answer*>context).size = size


cdef ByteSink _sink_of(Answer* answer, uint8_t* small) noexcept:
    """A sink for a function that has SMALL bytes of its own."""
    cdef ByteSink sink
    answer.small = small
    answer.size = 0
    answer.large = NULL
    sink.allocate = &_allocate
    sink.shrink = &_shrink
    sink.context = answer
    return sink


cdef bytes _take_answer(Answer* answer):
    """The bytes that were written."""
    cdef PyObject* large = <PyObject*>answer.large
    if large == NULL:
        return PyBytes_FromStringAndSize(<char*>answer.small, answer.size)
    answer.large = NULL
    if <size_t>PyBytes_GET_SIZE(<object>large) != answer.size:
        _PyBytes_Resize(&large, answer.size)
    result = <object>large
    Py_DECREF(result)
    return result
