/* Runs kernels that were compiled for another machine, under an emulator.
 *
 *     phases                          print the kernels' addresses
 *     phases IMAGE                    read memory from IMAGE, run what it says, write the memory back
 *
 * IMAGE holds int64s, BASE SIZE COUNT, then for each phase KERNEL ARGUMENTS CHUNKS SCRATCH (addresses), then SIZE bytes
 * that belong at address BASE. The table of kernels is linked in. Chunks run one at a time, the last one first. */
#define _GNU_SOURCE
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

typedef void kernel(const int64_t *arguments, int64_t first, int64_t last, void *scratch);
extern kernel *const kernels[];
extern const int64_t kernel_count;

static void require(int held, const char *what) {
    if (!held) {
        perror(what);
        exit(1);
    }
}

int main(int argc, char **argv) {
    if (argc < 2) {
        for (int64_t i = 0; i < kernel_count; i++) printf("%" PRIdPTR "\n", (intptr_t)kernels[i]);
        return 0;
    }
    FILE *file = fopen(argv[1], "r+b");
    require(file != NULL, argv[1]);
    int64_t head[3];
    require(fread(head, sizeof *head, 3, file) == 3, "header");
    int64_t (*phases)[4] = calloc(head[2] + 1, sizeof *phases);
    require(phases != NULL && fread(phases, sizeof *phases, head[2], file) == (size_t)head[2], "phases");
    void *memory = mmap((void *)head[0], head[1], PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    require(memory == (void *)head[0], "mmap");
    long place = ftell(file);
    require(fread(memory, 1, head[1], file) == (size_t)head[1], "memory");
    for (int64_t i = 0; i < head[2]; i++)
        for (int64_t chunk = phases[i][2] - 1; chunk >= 0; chunk--)
            ((kernel *)phases[i][0])((const int64_t *)phases[i][1], chunk, chunk + 1, (void *)phases[i][3]);
    require(fseek(file, place, SEEK_SET) == 0 && fwrite(memory, 1, head[1], file) == (size_t)head[1], "result");
    require(fclose(file) == 0, "result");
    return 0;
}
