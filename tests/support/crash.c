/* Fails in the way that its first argument names; the tests of backtraces know its lines. Without a standard library. */

#define IMPORT(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(name)))
#define PAGE 65536

IMPORT("args_get") int args_get(char **argv, char *strings);

static char *argv[16];
static char strings[PAGE];
static volatile int zero;
static char *volatile invalid = (char *)0xfffffff0;

static inline __attribute__((always_inline)) int read_at(char *address)
{
    return *(volatile char *)address;
}

static __attribute__((noinline)) int walk(void)
{
    return read_at(invalid) + 1;
}

static __attribute__((noinline)) int divide(int dividend)
{
    return dividend / zero;
}

static __attribute__((noinline)) int recurse(int depth)
{
    int below = zero ? 0 : recurse(depth + 1);
    return below + zero;
}

static __attribute__((noinline)) int spin(void)
{
    while (!zero)
        ;
    return 0;
}

static __attribute__((noinline)) int exhaust(void)
{
    while (__builtin_wasm_memory_grow(0, 16) != (unsigned long)-1)
        ;
    __builtin_trap();
}

__attribute__((noinline)) int run(char how)
{
    switch (how) {
    case 'f':
        return walk();
    case 'd':
        return divide(how);
    case 'r':
        return recurse(0);
    case 's':
        return spin();
    default:
        return exhaust();
    }
}

__attribute__((export_name("_start"))) void start(void)
{
    args_get(argv, strings);
    zero = run(argv[1][0]);
}
