/* Depth of a box of the color image; the rule and its reasons are in region_align.py, the arrays in `compiled_align.py`. */
#define OWNER "align kernel"
#include "buffers.h"
#include "target.h"

#include <stddef.h>
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
    x0 = larger(x0, 0);
    y0 = larger(y0, 0);
    x1 = smaller(x1, box.width - 1);
    y1 = smaller(y1, box.height - 1);
    for (int y = y0; y <= y1; y++)
        for (int x = x0; x <= x1; x++)
            if (value < out[y * box.width + x]) out[y * box.width + x] = value;
}

/* Nearly all depth pixels cover the usual number of color pixels or one more, across and down. They are written once,
   at their first corner, into one of four layers by size; what they cover is filled in afterwards, row by row. */
typedef struct {
    uint16_t *layers[4];
    /* Between two rows of a layer, which has one row and a margin before its first pixel that stay without depth. */
    int stride;
    int usual_x, usual_y;
} Patches;

INLINE Patches open_patches(uint16_t *memory, Box box, int usual_x, int usual_y) {
    Patches p = {.stride = box.width + usual_x, .usual_x = usual_x, .usual_y = usual_y};
    const int size = p.stride * (box.height + 1);
    for (int i = 0; i < 4 * size; i++) memory[i] = NOTHING;
    for (int layer = 0; layer < 4; layer++) p.layers[layer] = memory + layer * size + p.stride + usual_x;
    return p;
}

INLINE uint16_t nearer(uint16_t a, uint16_t b) { return a < b ? a : b; }

/* Of one kind of patch, those that begin at this pixel, before it, above it and above and before it. */
INLINE void merge_row(uint16_t *restrict usual, const uint16_t *restrict wide, const uint16_t *restrict high,
                      const uint16_t *restrict high_above, const uint16_t *restrict large,
                      const uint16_t *restrict large_above, int width) {
    for (ptrdiff_t x = 0; x < width; x++) {
        const uint16_t across = nearer(wide[x], wide[x - 1]), down = nearer(high[x], high_above[x]);
        const uint16_t both = nearer(nearer(large[x], large[x - 1]), nearer(large_above[x], large_above[x - 1]));
        usual[x] = nearer(nearer(usual[x], both), nearer(across, down));
    }
}

INLINE void nearer_row(uint16_t *restrict to, const uint16_t *restrict from, int width) {
    for (int x = 0; x < width; x++) to[x] = nearer(to[x], from[x]);
}

INLINE void spread_patches(const Patches *p, Box box, uint16_t *out) {
    for (int y = 0; y < box.height; y++) {
        const int at = y * p->stride;
        const uint16_t *high = p->layers[2] + at, *large = p->layers[3] + at;
        merge_row(p->layers[0] + at, p->layers[1] + at, high, high - p->stride, large, large - p->stride, box.width);
        for (int down = 0; down < p->usual_y && down <= y; down++)
            for (int right = 0; right < p->usual_x; right++)
                nearer_row(out + y * box.width, p->layers[0] + at - down * p->stride - right, box.width);
    }
}

#define CHUNK 256

KERNEL static void align_box(const Sensor *s, Box box, int usual_x, int usual_y, uint16_t *memory, uint16_t *out) {
    int32_t x0[CHUNK], y0[CHUNK], x1[CHUNK], y1[CHUNK];
    const Patches patches = open_patches(memory, box, usual_x, usual_y);
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
                const int x = x0[i] - box.left, y = y0[i] - box.top;
                const int last_x = s->two_corners ? x1[i] - box.left : x, last_y = s->two_corners ? y1[i] - box.top : y;
                const unsigned more_x = (unsigned)(last_x - x + 1 - usual_x);
                const unsigned more_y = (unsigned)(last_y - y + 1 - usual_y);
                const int begins_inside = (x >= 0) & (y >= 0) & (x < box.width) & (y < box.height);
                if (begins_inside & (more_x <= 1) & (more_y <= 1)) {
                    uint16_t *pixel = patches.layers[2 * more_y + more_x] + y * patches.stride + x;
                    *pixel = nearer(*pixel, value);
                } else cover(out, box, x, y, last_x, last_y, value);
            }
        }
    }
    spread_patches(&patches, box, out);
    for (int i = 0; i < box.width * box.height; i++) out[i] = (uint16_t)(out[i] + 1);
}

static int integers_of(PyObject *const *args, int count, int *values) {
    for (int i = 0; i < count; i++) values[i] = (int)PyLong_AsLong(args[i]);
    return !PyErr_Occurred();
}

/* align(depth, width, height, corners, add_z, add_x, add_y, two_corners, rows and columns (4), box (4), usual size (2),
   memory, out). */
static PyObject *align(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    Buffers all = {.count = 0};
    Sensor s;
    int size[2], flags[11];
    (void)self;
    if (!counted("align", count, 20) || !integers_of(args + 1, 2, size) || !integers_of(args + 7, 11, flags)) return NULL;
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
        s.last_row > s.height || s.last_column > s.width || flags[9] < 1 || flags[10] < 1) {
        PyErr_SetString(PyExc_ValueError, OWNER ": rows, columns, box or usual size do not fit the images");
        return NULL;
    }
    const Py_ssize_t pixels = (Py_ssize_t)s.width * s.height, corners = (Py_ssize_t)(s.width + 1) * (s.height + 1);
    if (!(s.depth = take(&all, args[0], "depth", pixels * 2, 0))) return NULL;
    if (!(s.corners = take(&all, args[3], "corners", 3 * corners * (Py_ssize_t)sizeof(float), 0))) return NULL;
    const Py_ssize_t cells = 4 * (Py_ssize_t)(box.width + flags[9]) * (box.height + 1);
    uint16_t *memory = take(&all, args[18], "memory", cells * 2, 1);
    uint16_t *out = memory ? take(&all, args[19], "out", (Py_ssize_t)box.width * box.height * 2, 1) : NULL;
    if (!out) return NULL;
    Py_BEGIN_ALLOW_THREADS
    align_box(&s, box, flags[9], flags[10], memory, out);
    Py_END_ALLOW_THREADS
    release(&all);
    Py_RETURN_NONE;
}

static PyMethodDef methods[] = {METHOD(align), {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_align", .m_doc = "Compiled alignment.", .m_size = 0, .m_methods = methods};

PyMODINIT_FUNC PyInit__align(void) { return PyModuleDef_Init(&definition); }
