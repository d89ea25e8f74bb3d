/* Python's door to the compiled loops: checks sizes, lets other threads run in all but the shortest. Shapes are in compiled.py. */
#define OWNER "motion kernels"
#include "../../capture/kernels/buffers.h"
#include "depth_change.h"
#include "head_motion.h"
#include "lucas_kanade.h"
#include "similarity.h"

#define IMAGE(type) (CROP * CROP * (Py_ssize_t)sizeof(type))
#define HALF_IMAGE (HALF * HALF * (Py_ssize_t)sizeof(float))
#define GRID (GRID_FLOATS * (Py_ssize_t)sizeof(float))
#define PRODUCTS (PRODUCT_FLOATS * (Py_ssize_t)sizeof(float))

static PyObject *prepare(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    Buffers all = {.count = 0};
    const uint8_t *grey;
    float *products;
    (void)self;
    if (!counted("prepare", count, 2)) return NULL;
    if (!(grey = take(&all, args[0], "grey", IMAGE(uint8_t), 0))) return NULL;
    if (!(products = take(&all, args[1], "products", PRODUCTS, 1))) return NULL;
    Py_BEGIN_ALLOW_THREADS
    sfam_prepare(grey, products);
    Py_END_ALLOW_THREADS
    release(&all);
    Py_RETURN_NONE;
}

static PyObject *solve(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    Buffers all = {.count = 0};
    const float *reference, *moving;
    float *grid, *u, *v;
    uint8_t *valid;
    (void)self;
    if (!counted("solve", count, 9)) return NULL;
    const int warm = PyObject_IsTrue(args[2]);
    const double shift_u = PyFloat_AsDouble(args[3]), shift_v = PyFloat_AsDouble(args[4]);
    if (PyErr_Occurred()) return NULL;
    if (!(reference = take(&all, args[0], "reference", PRODUCTS, 0))) return NULL;
    if (!(moving = take(&all, args[1], "moving", PRODUCTS, 0))) return NULL;
    if (!(grid = take(&all, args[5], "grid", GRID, 1))) return NULL;
    if (!(u = take(&all, args[6], "u", IMAGE(float), 1))) return NULL;
    if (!(v = take(&all, args[7], "v", IMAGE(float), 1))) return NULL;
    if (!(valid = take(&all, args[8], "valid", IMAGE(uint8_t), 1))) return NULL;
    double mean_square;
    Py_BEGIN_ALLOW_THREADS
    mean_square = sfam_solve(reference, moving, warm, (float)shift_u, (float)shift_v, grid, u, v, valid);
    Py_END_ALLOW_THREADS
    release(&all);
    return mean_square < 0 ? PyErr_NoMemory() : PyFloat_FromDouble(mean_square);
}

static PyObject *smooth_depth(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    Buffers all = {.count = 0};
    const float *depth;
    float *half, *sunken, *shape;
    (void)self;
    if (!counted("smooth_depth", count, 4)) return NULL;
    if (!(depth = take(&all, args[0], "depth", IMAGE(float), 0))) return NULL;
    if (!(half = take(&all, args[1], "half", HALF_IMAGE, 1))) return NULL;
    if (!(sunken = take(&all, args[2], "sunken", HALF_IMAGE, 1))) return NULL;
    if (!(shape = take(&all, args[3], "shape", IMAGE(float), 1))) return NULL;
    double share;
    Py_BEGIN_ALLOW_THREADS
    share = sfam_smooth_depth(depth, half, sunken, shape);
    Py_END_ALLOW_THREADS
    release(&all);
    return PyFloat_FromDouble(share);
}

static PyObject *depth_change(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    Buffers all = {.count = 0};
    const float *half, *sunken, *grid;
    float *w;
    uint8_t *valid;
    (void)self;
    if (!counted("depth_change", count, 5)) return NULL;
    if (!(half = take(&all, args[0], "half", HALF_IMAGE, 0))) return NULL;
    if (!(sunken = take(&all, args[1], "sunken", HALF_IMAGE, 0))) return NULL;
    if (!(grid = take(&all, args[2], "grid", GRID, 0))) return NULL;
    if (!(w = take(&all, args[3], "w", IMAGE(float), 1))) return NULL;
    if (!(valid = take(&all, args[4], "valid", IMAGE(uint8_t), 1))) return NULL;
    Py_BEGIN_ALLOW_THREADS
    sfam_depth_change(half, sunken, grid, w, valid);
    Py_END_ALLOW_THREADS
    release(&all);
    Py_RETURN_NONE;
}

static Camera camera_of(PyObject *const *args) {
    Camera camera = {PyFloat_AsDouble(args[0]), PyFloat_AsDouble(args[1]), PyFloat_AsDouble(args[2]),
                     PyFloat_AsDouble(args[3])};
    return camera;
}

/* Whether every place lies on the crop; otherwise an error is set and everything released. */
static int all_inside(Buffers *all, const int32_t *places, Py_ssize_t count) {
    for (Py_ssize_t i = 0; i < count; i++) {
        if (places[i] < 0 || places[i] >= CROP * CROP) {
            PyErr_Format(PyExc_ValueError, OWNER ": place %d is outside a crop of %d pixels", (int)places[i],
                         CROP * CROP);
            release(all);
            return 0;
        }
    }
    return 1;
}

static PyObject *fit_head(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    Buffers all = {.count = 0};
    const float *u, *v, *w, *depth;
    const uint8_t *known;
    double *weights, *found;
    (void)self;
    if (!counted("fit_head", count, 13)) return NULL;
    const Py_ssize_t points = PyObject_Length(args[0]), real = (Py_ssize_t)sizeof(double);
    const Camera camera = camera_of(args + 1);
    const int warm = PyObject_IsTrue(args[10]);
    if (PyErr_Occurred()) return NULL;
    if (points < 1 || points > MOST_POINTS) {
        PyErr_Format(PyExc_ValueError, OWNER ": a fit takes 1 to %d points, got %zd", MOST_POINTS, points);
        return NULL;
    }
    const int32_t *places = take(&all, args[0], "places", points * (Py_ssize_t)sizeof(int32_t), 0);
    if (!places || !all_inside(&all, places, points)) return NULL;
    if (!(u = take(&all, args[5], "u", IMAGE(float), 0))) return NULL;
    if (!(v = take(&all, args[6], "v", IMAGE(float), 0))) return NULL;
    if (!(w = take(&all, args[7], "w", IMAGE(float), 0))) return NULL;
    if (!(known = take(&all, args[8], "known", IMAGE(uint8_t), 0))) return NULL;
    if (!(depth = take(&all, args[9], "depth", IMAGE(float), 0))) return NULL;
    if (!(weights = take(&all, args[11], "weights", 3 * points * real, 1))) return NULL;
    if (!(found = take(&all, args[12], "found", 10 * real, 1))) return NULL;
    int done;
    Py_BEGIN_ALLOW_THREADS
    done = sfam_fit_head((int)points, places, camera, u, v, w, known, depth, warm, weights, found);
    Py_END_ALLOW_THREADS
    release(&all);
    if (!done) return PyErr_NoMemory();
    Py_RETURN_NONE;
}

static PyObject *induced(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    Buffers all = {.count = 0};
    const float *depth;
    const double *turned, *shifted;
    float *flow;
    (void)self;
    if (!counted("induced", count, 8)) return NULL;
    const Camera camera = camera_of(args + 1);
    if (PyErr_Occurred()) return NULL;
    const Py_ssize_t plane = 18 * (Py_ssize_t)sizeof(double);
    if (!(depth = take(&all, args[0], "depth", IMAGE(float), 0))) return NULL;
    if (!(turned = take(&all, args[5], "turned", plane, 0))) return NULL;
    if (!(shifted = take(&all, args[6], "shifted", plane, 0))) return NULL;
    if (!(flow = take(&all, args[7], "flow", 3 * IMAGE(float), 1))) return NULL;
    Py_BEGIN_ALLOW_THREADS
    sfam_induced(depth, camera, turned, shifted, flow);
    Py_END_ALLOW_THREADS
    release(&all);
    Py_RETURN_NONE;
}

static PyObject *fit_similarity(PyObject *self, PyObject *const *args, Py_ssize_t count) {
    Buffers all = {.count = 0};
    const float *source, *target;
    const uint8_t *usable;
    double *found;
    (void)self;
    if (!counted("fit_similarity", count, 6)) return NULL;
    const Py_ssize_t points = PyObject_Length(args[2]), real = (Py_ssize_t)sizeof(double);
    const int rounds = (int)PyLong_AsLong(args[3]);
    const double support_px = PyFloat_AsDouble(args[4]);
    if (PyErr_Occurred()) return NULL;
    if (points < 1 || points > MOST_PAIRS || rounds < 1) {
        PyErr_Format(PyExc_ValueError, OWNER ": a fit takes 1 to %d points and a round, got %zd", MOST_PAIRS, points);
        return NULL;
    }
    if (!(source = take(&all, args[0], "source", 2 * points * (Py_ssize_t)sizeof(float), 0))) return NULL;
    if (!(target = take(&all, args[1], "target", 2 * points * (Py_ssize_t)sizeof(float), 0))) return NULL;
    if (!(usable = take(&all, args[2], "usable", points, 0))) return NULL;
    if (!(found = take(&all, args[5], "found", 6 * real, 1))) return NULL;
    const int used = sfam_fit_similarity((int)points, source, target, usable, rounds, support_px, found);
    release(&all);
    return PyLong_FromLong(used);
}

static PyMethodDef methods[] = {METHOD(prepare),        METHOD(solve),    METHOD(smooth_depth),
                                METHOD(depth_change),   METHOD(fit_head), METHOD(induced),
                                METHOD(fit_similarity), {NULL, NULL, 0, NULL}};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_kernels", .m_doc = "Compiled loops of motion.", .m_size = 0, .m_methods = methods};

PyMODINIT_FUNC PyInit__kernels(void) { return PyModuleDef_Init(&definition); }
