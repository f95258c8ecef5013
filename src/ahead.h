/* Asks for a few cache lines of rows that will soon be gathered; goes on from there. */
INLINE void look_ahead(cb_ahead *ahead)
{
    const cb_rows *x = ahead->rows;
    const cb_index item = x->type == CB_UINT8 ? 1 : x->type == CB_FLOAT32 ? 4 : 8;
    if (x->column_stride != item)
        return;
    for (int lines = 8; lines > 0 && ahead->left > 0; lines--) {
        __builtin_prefetch((const char *)x->data + *ahead->index * x->row_stride + ahead->at, 0, 2);
        ahead->at += 64;
        if (ahead->at >= x->width * item) {
            ahead->at = 0;
            ahead->index++;
            ahead->left--;
        }
    }
}
