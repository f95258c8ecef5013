/* src/rng.c at the very centre of the disc: the key, purpose, stream and index on the command line
 * are such that the first draw is the point (0, 0). Prints the words drawn first, and the pair.
 */
#include <stdio.h>
#include <stdlib.h>

#include "src/rng.c"

int main(int count, char **words)
{
    if (count != 5)
        return 1;
    const cb_random r = {strtoull(words[1], NULL, 10), (uint32_t)strtoul(words[2], NULL, 10),
                         (uint32_t)strtoul(words[3], NULL, 10)};
    const uint64_t index = strtoull(words[4], NULL, 10);
    uint32_t word[4];
    double pair[2], next[2];
    cb_philox(r, index, word);
    cb_normal_pair(r, index, pair);
    cb_normal_pair(r, index + ((uint64_t)1 << 40), next);
    printf("%u %u %u %u\n%a %a\n%a %a\n", word[0], word[1], word[2], word[3], pair[0], pair[1],
           next[0], next[1]);
    return 0;
}
