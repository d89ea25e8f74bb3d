/* Arrays handed over by Python: their memory, held while a loop runs. OWNER names the module in error texts. */
#ifndef SFAM_BUFFERS_H
#define SFAM_BUFFERS_H

#define Py_LIMITED_API 0x030b0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#define MOST_BUFFERS 9
#define METHOD(name) {#name, (PyCFunction)(void (*)(void))name, METH_FASTCALL, NULL}

typedef struct {
    Py_buffer held[MOST_BUFFERS];
    int count;
} Buffers;

static void release(Buffers *all) {
    while (all->count) PyBuffer_Release(&all->held[--all->count]);
}

/* The memory of an array of exactly so many bytes; NULL with an error set and everything released otherwise. */
static void *take(Buffers *all, PyObject *array, const char *name, Py_ssize_t bytes, int writable) {
    Py_buffer *view = &all->held[all->count];
    if (PyObject_GetBuffer(array, view, writable ? PyBUF_WRITABLE : PyBUF_SIMPLE) < 0) {
        release(all);
        return NULL;
    }
    all->count++;
    if (view->len != bytes) {
        PyErr_Format(PyExc_ValueError,
                     OWNER ": %s has %zd bytes, %zd are needed; pass an array of the documented shape and type",
                     name, view->len, bytes);
        release(all);
        return NULL;
    }
    return view->buf;
}

static int counted(const char *name, Py_ssize_t given, Py_ssize_t wanted) {
    if (given == wanted) return 1;
    PyErr_Format(PyExc_TypeError, OWNER ": %s takes %zd arguments, %zd were given", name, wanted, given);
    return 0;
}

#endif
