# The tag of the exceptions by which LLVM compiles longjmp; the libc of zig lacks it.
.globl __c_longjmp
.tagtype __c_longjmp i32
__c_longjmp:
