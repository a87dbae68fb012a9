/* wasi-php.h has what PHP needs of this header. */
