/* Depth of a box of the color image; the rule and its reasons are in align.py, the arrays in `compiled_align.py`. */
#define OWNER "align kernel"
#include "buffers.h"
#include "target.h"

#include <stdint.h>

#define FAR_AWAY 1e6f
#define NOTHING 65535

typedef struct {
    int left, top, width, height;
} Box;

typedef struct {
    const uint16_t *depth;
    int width, height;
    /* (3, height + 1, width + 1): what depth is multiplied with for the divisor, u and v of each pixel's corner. */
    const float *corners;
    float add[3];
    /* The pixels looked at. */
    int first_row, last_row, first_column, last_column;
    int two_corners;
} Sensor;

/* Color pixel under one corner of `count` depth pixels of a row. */
INLINE void project(const Sensor *s, const uint16_t *depth, const float *corners, int count, int32_t *x, int32_t *y) {
    const int plane = (s->height + 1) * (s->width + 1);
    const float *below = corners, *across = corners + plane, *down = across + plane;
    for (int i = 0; i < count; i++) {
        const float z = (float)depth[i];
        const float divisor = z * below[i] + s->add[0];
        x[i] = (int32_t)clamped((z * across[i] + s->add[1]) / divisor, -FAR_AWAY, FAR_AWAY);
        y[i] = (int32_t)clamped((z * down[i] + s->add[2]) / divisor, -FAR_AWAY, FAR_AWAY);
    }
}

INLINE int larger(int a, int b) { return a > b ? a : b; }
INLINE int smaller(int a, int b) { return a < b ? a : b; }

/* Write a value into every pixel of the box from the first to the last corner; the nearest one stays. */
INLINE void cover(uint16_t *out, Box box, int x0, int y0, int x1, int y1, uint16_t value) {
    x0 = larger(x0 - box.left, 0);
    y0 = larger(y0 - box.top, 0);
    x1 = smaller(x1 - box.left, box.width - 1);
    y1 = smaller(y1 - box.top, box.height - 1);
    for (int y = y0; y <= y1; y++)
        for (int x = x0; x <= x1; x++)
            if (value < out[y * box.width + x]) out[y * box.width + x] = value;
}

#define CHUNK 256

KERNEL static void align_box(const Sensor *s, Box box, uint16_t *out) {
    int32_t x0[CHUNK], y0[CHUNK], x1[CHUNK], y1[CHUNK];
    for (int i = 0; i < box.width * box.height; i++) out[i] = NOTHING;
    for (int row = s->first_row; row < s->last_row; row++) {
        for (int begin = s->first_column; begin < s->last_column; begin += CHUNK) {
            const int count = smaller(CHUNK, s->last_column - begin);
            const uint16_t *depth = s->depth + row * s->width + begin;
            const float *corner = s->corners + row * (s->width + 1) + begin;
            project(s, depth, corner, count, x0, y0);
            if (s->two_corners) project(s, depth, corner + s->width + 2, count, x1, y1);
            for (int i = 0; i < count; i++) {
                /* No depth wraps to what never wins. */
                const uint16_t value = (uint16_t)(depth[i] - 1);
                if (s->two_corners) cover(out, box, x0[i], y0[i], x1[i], y1[i], value);
                else cover(out, box, x0[i], y0[i], x0[i], y0[i], value);
            }
        }
    }
    for (int i = 0; i < box.width * box.height; i++) out[i] = (uint16_t)(out[i] + 1);
}

static int integers_of(PyObject *const *args, int count, int *values) {
    for (int i = 0; i < count; i++) values[i] = (int)PyLong_AsLong(args[i]);
    return !PyErr_Occurred();
}

/* align(depth, width, height, corners, add_z, add_x, add_y, two_corners, rows and columns (4), box (4), out). */
static PyObject *align(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    Buffers all = {.count = 0};
    Sensor s;
    int size[2], flags[9];
    (void)self;
    if (!counted("align", count, 17) || !integers_of(args + 1, 2, size) || !integers_of(args + 7, 9, flags)) return NULL;
    for (int i = 0; i < 3; i++) s.add[i] = (float)PyFloat_AsDouble(args[4 + i]);
    if (PyErr_Occurred()) return NULL;
    s.width = size[0];
    s.height = size[1];
    s.two_corners = flags[0];
    s.first_row = flags[1];
    s.last_row = flags[2];
    s.first_column = flags[3];
    s.last_column = flags[4];
    const Box box = {flags[5], flags[6], flags[7], flags[8]};
    if (s.width < 1 || s.height < 1 || box.width < 1 || box.height < 1 || s.first_row < 0 || s.first_column < 0 ||
        s.last_row > s.height || s.last_column > s.width) {
        PyErr_SetString(PyExc_ValueError, OWNER ": rows, columns or box do not fit the images");
        return NULL;
    }
    const Py_ssize_t pixels = (Py_ssize_t)s.width * s.height, corners = (Py_ssize_t)(s.width + 1) * (s.height + 1);
    if (!(s.depth = take(&all, args[0], "depth", pixels * 2, 0))) return NULL;
    if (!(s.corners = take(&all, args[3], "corners", 3 * corners * (Py_ssize_t)sizeof(float), 0))) return NULL;
    uint16_t *out = take(&all, args[16], "out", (Py_ssize_t)box.width * box.height * 2, 1);
    if (!out) return NULL;
    Py_BEGIN_ALLOW_THREADS
    align_box(&s, box, out);
    Py_END_ALLOW_THREADS
    release(&all);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {METHOD(align), {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_align", .m_doc = "Compiled alignment.", .m_size = 0, .m_methods = methods};

PyMODINIT_FUNC PyInit__align(void) { return PyModuleDef_Init(&definition); }
