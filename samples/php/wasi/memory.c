// Memory and temporary files, of functions that wasi-libc lacks or cannot have.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int getentropy(void *, size_t);

// PHP's allocator takes chunks of 2 MiB, aligned to their size, of which the first page has to be zero. They are whole
// units of the linear memory, behind malloc's: malloc itself goes on behind them.
enum { UNIT = 2 << 20, PAGE = 4096, WASM_PAGE = 65536, UNITS = 2048 };

static enum { OTHERS, FREE, USED } units[UNITS];

static size_t round_up(size_t size) { return (size + UNIT - 1) / UNIT; }

// The first of `count` free units that follow each other, which new memory extends if needed; UNITS without memory.
static size_t find(size_t count) {
  size_t end = __builtin_wasm_memory_size(0) * (size_t)WASM_PAGE, first = 0;
  for (size_t unit = 0; unit < UNITS; unit++) {
    if (units[unit] != FREE) first = unit + 1;
    else if (unit + 1 - first == count) return first;
  }
  first = round_up(end);
  if (first * UNIT == end)
    while (first > 0 && units[first - 1] == FREE) first--;
  if (first + count > UNITS - 1) return UNITS;
  size_t missing = (first + count) * UNIT - end;
  return __builtin_wasm_memory_grow(0, missing / WASM_PAGE) == (size_t)-1 ? UNITS : first;
}

void *php_mmap(void *address, size_t size, int protection, int flags, int fd, long long offset) {
  if (fd >= 0 || address) {
    errno = ENOSYS;
    return (void *)-1;
  }
  size_t count = round_up(size), first = count && count < UNITS ? find(count) : UNITS;
  if (first == UNITS) {
    errno = ENOMEM;
    return (void *)-1;
  }
  for (size_t unit = first; unit < first + count; unit++) units[unit] = USED;
  return memset((void *)(first * UNIT), 0, PAGE);
}

// The unit that a truncated block shares with what is left of it stays in use.
int php_munmap(void *address, size_t size) {
  for (size_t unit = round_up((size_t)address); unit < round_up((size_t)address + size); unit++) units[unit] = FREE;
  return 0;
}

int php_mprotect(void *address, size_t size, int protection) { return 0; }

int mkstemp(char *template) {
  size_t length = strlen(template);
  for (int attempt = 0; attempt < 100; attempt++) {
    unsigned char random[6];
    if (getentropy(random, sizeof random)) return -1;
    for (int i = 0; i < 6; i++) template[length - 6 + i] = "abcdefghijklmnopqrstuvwxyz012345"[random[i] & 31];
    int fd = open(template, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd >= 0 || errno != EEXIST) return fd;
  }
  return -1;
}
