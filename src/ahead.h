/* Asks for a few cache lines of rows that will soon be gathered; goes on from there. */
INLINE void look_ahead(cb_ahead *ahead)
{
    for (cb_index lines = ahead->lines; lines > 0 && ahead->left > 0;) {
        const cb_rows *x = ahead->rows;
        const cb_index item = x->type == CB_UINT8 ? 1 : x->type == CB_FLOAT32 ? 4 : 8;
        const char *p = (const char *)x->data + *ahead->index * x->row_stride;
        const char *end = p + (x->column_stride == item ? x->width * item : 0);
        const char *from = p - ((uintptr_t)p & 63) + ahead->at;
        for (; lines > 0 && from < end; lines--, from += 64, ahead->at += 64)
            __builtin_prefetch(from, 0, 2);
        if (from < end)
            return;
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
}
