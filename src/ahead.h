/* The lines of memory that rows of the next mini-batch lie in, asked for while BP4's tiles run. */

/* As many as are due with one tile. Many lines of one row are better asked for by the tile, between
 * its steps, if it is one that can: then they begin at what is returned, else NULL. */
INLINE const char *look_ahead(cb_ahead *ahead, const int by_tile)
{
    for (cb_index lines = ahead->lines; lines > 0 && ahead->left > 0;) {
        const cb_rows *x = ahead->rows;
        const cb_index item = x->type == CB_UINT8 ? 1 : x->type == CB_FLOAT32 ? 4 : 8;
        const char *p = (const char *)x->data + *ahead->index * x->row_stride;
        const char *end = p + (x->column_stride == item ? x->width * item : 0);
        const char *from = p - ((uintptr_t)p & (CB_CACHE_LINE - 1)) + ahead->at;
        if (by_tile && ahead->step > 0 && end - from > ahead->reach) {
            ahead->at += ahead->reach;
            return from;
        }
        for (; lines > 0 && from < end; lines--, from += CB_CACHE_LINE, ahead->at += CB_CACHE_LINE)
            __builtin_prefetch(from, 0, 2);
        if (from < end)
            return NULL;
        lines -= x->column_stride != item;
        ahead->at = 0;
        ahead->index++;
        if (--ahead->left == 0 && ahead->then) {
            ahead->rows = ahead->then;
            ahead->then = NULL;
            ahead->index = ahead->again;
            ahead->left = ahead->count;
        }
    }
    return NULL;
}
