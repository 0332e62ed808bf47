// The C library's malloc, set for a process that holds millions of small records.
#pragma once

namespace portcullis::apps {

/// Executes this program anew with GLIBC_TUNABLES: huge pages where the kernel grants them, large
/// blocks from the heap, one heap for all threads (glibc reads its tunables only at a program's
/// start). Does nothing when the variable is set, so that an operator's own settings stand, or when
/// it cannot: the process is then only slower. Keeps the process id. Before any thread or file is
/// opened.
void restart_with_malloc_settings(char** arguments);

}  // namespace portcullis::apps
