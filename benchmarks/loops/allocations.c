/* Counts the blocks that CPython's object allocator hands out on each thread: a hook of PyMem_SetAllocator(). */
#include <stddef.h>

typedef struct {
    void *ctx;
    void *(*malloc)(void *, size_t);
    void *(*calloc)(void *, size_t, size_t);
    void *(*realloc)(void *, void *, size_t);
    void (*free)(void *, void *);
} PyMemAllocatorEx;

enum { OBJECTS = 2 }; /* PYMEM_DOMAIN_OBJ */

void PyMem_GetAllocator(int, PyMemAllocatorEx *);
void PyMem_SetAllocator(int, PyMemAllocatorEx *);

static PyMemAllocatorEx own;
static __thread long blocks;

static void *count_malloc(void *ctx, size_t size) { blocks++; return own.malloc(ctx, size); }
static void *count_calloc(void *ctx, size_t n, size_t size) { blocks++; return own.calloc(ctx, n, size); }
static void *count_realloc(void *ctx, void *old, size_t size) { blocks += !old; return own.realloc(ctx, old, size); }

void start(void)
{
    PyMem_GetAllocator(OBJECTS, &own);
    PyMemAllocatorEx counting = {own.ctx, count_malloc, count_calloc, count_realloc, own.free};
    PyMem_SetAllocator(OBJECTS, &counting);
}

long count(void) { return blocks; }
