/* Counts what a process asks of the CUDA runtime. Preloaded (LD_PRELOAD), it stands before
 * libcudart, through which all of LibTorch goes.
 *
 * Each cudaDeviceSynchronize appends a line to the file that CUDA_COUNT_LOG names, about the time
 * since the one before:
 *   waits               calls that hold up the host: synchronisations of a stream or an event,
 *                       copies that are not asynchronous
 *   copies_to_host      asynchronous copies from the device, for which a program then waits
 *   copies_to_device    asynchronous copies from the host
 *   allocations         cudaMalloc and cudaFree
 *   live, peak          bytes allocated by cudaMalloc, now and at most
 *   events_ms           milliseconds between two events on the default stream, one after the last
 *                       cudaDeviceSynchronize and one before this; missing without events
 * A program puts one before and one after what it measures, and reads the last line. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static size_t waits, to_host, to_device, allocations, live, peak;
static struct { void *place; size_t size; } blocks[1 << 16];
static size_t used;

/* Whoever calls has the library loaded. */
static void *real(const char *name) {
    static const char *const libraries[] = {"libcudart.so.13", "libcudart.so.12"};
    for (size_t i = 0; i < 2; i++) {
        void *library = dlopen(libraries[i], RTLD_LAZY | RTLD_NOLOAD), *function = library ? dlsym(library, name) : NULL;
        if (function) return function;
    }
    fprintf(stderr, "count: libcudart has no %s\n", name);
    abort();
}

static void count(size_t *counter) {
    pthread_mutex_lock(&lock);
    ++*counter;
    pthread_mutex_unlock(&lock);
}

static void count_copy(int kind, int asynchronous) {
    if (!asynchronous || kind == 4 /* cudaMemcpyDefault: could be anything */) count(&waits);
    if (asynchronous && kind == 1) count(&to_device);
    if (asynchronous && kind == 2) count(&to_host);
}

/* A function of the runtime that does something here and then what it always does. */
#define PASS(name, parameters, arguments, action)                   \
    int name parameters {                                           \
        static int (*next) parameters;                              \
        if (!next) next = (int (*) parameters)real(#name);          \
        action;                                                     \
        return next arguments;                                      \
    }

PASS(cudaStreamSynchronize, (void *stream), (stream), count(&waits))
PASS(cudaEventSynchronize, (void *event), (event), count(&waits))
PASS(cudaMemcpy, (void *to, const void *from, size_t size, int kind), (to, from, size, kind), count_copy(kind, 0))
PASS(cudaMemcpyToSymbol, (const void *to, const void *from, size_t size, size_t at, int kind), (to, from, size, at, kind),
     count_copy(kind, 0))
PASS(cudaMemcpyAsync, (void *to, const void *from, size_t size, int kind, void *stream), (to, from, size, kind, stream),
     count_copy(kind, 1))

int cudaMalloc(void **place, size_t size) {
    static int (*next)(void **, size_t);
    if (!next) next = (int (*)(void **, size_t))real("cudaMalloc");
    int error = next(place, size);
    pthread_mutex_lock(&lock);
    allocations++;
    if (!error && used < sizeof blocks / sizeof *blocks) {
        blocks[used].place = *place;
        blocks[used++].size = size;
        live += size;
        if (live > peak) peak = live;
    }
    pthread_mutex_unlock(&lock);
    return error;
}

int cudaFree(void *place) {
    static int (*next)(void *);
    if (!next) next = (int (*)(void *))real("cudaFree");
    pthread_mutex_lock(&lock);
    allocations++;
    for (size_t i = used; i-- > 0;) {
        if (blocks[i].place == place) {
            live -= blocks[i].size;
            blocks[i] = blocks[--used];
            break;
        }
    }
    pthread_mutex_unlock(&lock);
    return next(place);
}

/* The two events, and whether the first has been recorded. */
static void *first, *last;
static int begun;

static int record(void **event) {
    static int (*create)(void **), (*next)(void *, void *);
    if (!create) create = (int (*)(void **))real("cudaEventCreate");
    if (!next) next = (int (*)(void *, void *))real("cudaEventRecord");
    if (!*event && create(event)) return 0;
    return !next(*event, NULL);
}

/* Less than zero where there is no such time. */
static float elapsed(void) {
    static int (*next)(float *, void *, void *);
    if (!next) next = (int (*)(float *, void *, void *))real("cudaEventElapsedTime");
    float milliseconds = -1;
    return next(&milliseconds, first, last) ? -1 : milliseconds;
}

int cudaDeviceSynchronize(void) {
    static int (*next)(void);
    if (!next) next = (int (*)(void))real("cudaDeviceSynchronize");
    int timed = begun && record(&last);
    int error = next();
    float milliseconds = timed && !error ? elapsed() : -1;
    const char *path = getenv("CUDA_COUNT_LOG");
    pthread_mutex_lock(&lock);
    FILE *log = path ? fopen(path, "a") : NULL;
    if (log) {
        fprintf(log, "waits=%zu copies_to_host=%zu copies_to_device=%zu allocations=%zu live=%zu peak=%zu", waits, to_host, to_device, allocations, live, peak);
        if (milliseconds >= 0) fprintf(log, " events_ms=%f", milliseconds);
        fprintf(log, "\n");
        fclose(log);
    }
    waits = to_host = to_device = allocations = 0;
    peak = live;
    pthread_mutex_unlock(&lock);
    /* Last of all, so that nothing done here is between the two. */
    begun = path && record(&first);
    return error;
}
