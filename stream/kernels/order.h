/* The k-th smallest of n numbers (Hoare's selection); the numbers are reordered. */
#ifndef SFAM_ORDER_H
#define SFAM_ORDER_H

#define SELECTION(name, type)                             \
    static type name(type *x, int n, int k) {             \
        int low = 0, high = n - 1;                        \
        while (low < high) {                              \
            type pivot = x[k];                            \
            int i = low, j = high;                        \
            while (i <= j) {                              \
                while (x[i] < pivot) i++;                 \
                while (pivot < x[j]) j--;                 \
                if (i <= j) {                             \
                    type swapped = x[i];                  \
                    x[i++] = x[j];                        \
                    x[j--] = swapped;                     \
                }                                         \
            }                                             \
            if (j < k) low = i;                           \
            if (k < i) high = j;                          \
        }                                                 \
        return x[k];                                      \
    }

#endif
