//! Matrix products of every precision in one shape: left rows times packed panels of 32 columns.
//!
//! Both sides are made of *words* of 32 bits: one f32, two bfloat16, or four bytes along the summed axis. One step of the
//! inner loop broadcasts a unit of each left row and meets it with 32 packed words of a panel, so f32, bf16 and int8 differ in
//! one instruction. A result is one running sum over the steps in their order, whatever rows stand around it: the same bits
//! in any batch. Layouts: left `[m, steps]` row-major; panels `[n / 32, steps, 32]`, zero-filled past `n`.
#![expect(
    clippy::undocumented_unsafe_blocks,
    reason = "each is the body of an unsafe fn, which hands its own contract on"
)]

use super::lanes::{Lanes, sixteens};

pub(super) const F32: u8 = 0;
pub(super) const BF16: u8 = 1;
pub(super) const INT8: u8 = 2;

/// How a result is stored: written, added to what is there, or written as bfloat16.
pub(super) const WRITE: u8 = 0;
pub(super) const ADD: u8 = 1;
pub(super) const BF16_OUT: u8 = 2;

/// Columns of a panel.
pub(super) const WIDTH: usize = 32;
/// Left rows that stay in the second-level cache while all panels pass by, in bytes.
pub(super) const LEFT_BYTES: usize = 384 << 10;

/// What a product works on; the safe entry has checked the lengths.
pub(super) struct Product {
    pub left: *const u32,
    /// Packed words from one left row to the next.
    pub stride: usize,
    pub rows: usize,
    /// At least 1.
    pub steps: usize,
    /// First panel.
    pub panels: *const u32,
    /// Columns of the result that these panels hold.
    pub cols: usize,
    /// int8: scale of each left row; scale and `128 * sum` of each column, padded to whole panels.
    pub row_scale: *const f32,
    pub col_scale: *const f32,
    pub col_offset: *const i32,
    /// One per column, or null.
    pub bias: *const f32,
    /// f32, or bfloat16 where `how` says so.
    pub out: *mut u8,
    /// Values from one row of the result to the next.
    pub out_stride: usize,
    pub how: u8,
}

/// Cache lines to fetch on the way through the steps: one at every step whose number has no bit of `skip`.
#[derive(Clone, Copy)]
struct Ahead {
    line: *const u32,
    skip: usize,
}

impl Ahead {
    /// One, of nothing.
    const NONE: Ahead = Ahead { line: std::ptr::null(), skip: usize::MAX };
}

/// # Safety
/// The unit's instructions are there, and every pointer of `p` is good for the lengths it names.
#[inline(always)]
pub(super) unsafe fn product<L: Lanes, const KIND: u8>(p: &Product) {
    unsafe {
        let block = (LEFT_BYTES / (p.steps.max(1) * 4)).max(24) / 12 * 12;
        let mut row = 0;
        while row < p.rows {
            let end = (row + block).min(p.rows);
            let panels = p.cols.div_ceil(WIDTH);
            for panel in 0..panels {
                let mut at = row;
                // The first strips fetch the panel to come into the first level, four of them a line (half a step of it) every
                // second step: 2 to 3 % faster than in a hurry or into the second level. Where there are no four, two do.
                let next = p.panels.wrapping_add((panel + 1) % panels * p.steps * WIDTH);
                let (fetching, skip) = if end - row < 48 { (2, 0) } else { (4, 1) };
                let mut strips = 0;
                while at < end {
                    let left = end - at;
                    let line = next.wrapping_add(strips * p.steps.div_ceil(1 + skip) * 16);
                    let ahead = if strips < fetching { Ahead { line, skip } } else { Ahead::NONE };
                    strips += 1;
                    at += match left {
                        12.. if L::ROWS >= 12 => strip::<L, KIND, 12>(p, at, panel, ahead),
                        8.. if L::ROWS >= 8 => strip::<L, KIND, 8>(p, at, panel, ahead),
                        4.. => strip::<L, KIND, 4>(p, at, panel, ahead),
                        2.. => strip::<L, KIND, 2>(p, at, panel, ahead),
                        _ => strip::<L, KIND, 1>(p, at, panel, ahead),
                    };
                }
            }
            row = end;
        }
    }
}

#[inline(always)]
unsafe fn strip<L: Lanes, const KIND: u8, const M: usize>(
    p: &Product,
    row: usize,
    panel: usize,
    ahead: Ahead,
) -> usize {
    unsafe {
        if L::COLS == 2 {
            tile::<L, KIND, M, 2>(p, row, panel, 0, ahead);
        } else {
            tile::<L, KIND, M, 1>(p, row, panel, 0, ahead);
            tile::<L, KIND, M, 1>(p, row, panel, 1, Ahead::NONE);
        }
    }
    M
}

/// Runs the expression for 0 to `M`, at most 12, each an index that the compiler sees: sums that are indexed in a loop which it
/// might not unroll would be in memory.
macro_rules! each {
    ($m:expr, |$i:ident| $run:expr) => { each!($m, $i, $run, 0 1 2 3 4 5 6 7 8 9 10 11) };
    ($m:expr, $i:ident, $run:expr, $($n:literal)*) => {{$(
        if $n < $m {
            let $i = $n;
            $run;
        }
    )*}};
}

/// `M` rows by `C` vectors of columns, kept in registers from the first step to the last.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // indices are what the unrolled registers are called
unsafe fn tile<L: Lanes, const KIND: u8, const M: usize, const C: usize>(
    p: &Product,
    row: usize,
    panel: usize,
    half: usize,
    Ahead { mut line, skip }: Ahead,
) {
    unsafe {
        let column = panel * WIDTH + half * 16;
        if column >= p.cols {
            return;
        }
        let zero = L::splat_u32(0);
        let mut sums = [[zero; C]; M];
        let stride = p.stride;
        let first = p.left.add(row * stride);
        // Three pointers and three offsets reach twelve rows without twelve registers.
        let groups = [first, first.wrapping_add(4 * stride), first.wrapping_add(8 * stride)];
        let offsets = [0, stride, 2 * stride, 3 * stride];
        let mut right = p.panels.add(panel * p.steps * WIDTH + half * 16);
        // At least one step: a loop that might not run would have the sums zeroed in memory first, 6 % of an int8 product.
        let mut step = 0;
        loop {
            let mut columns = [zero; C];
            for c in 0..C {
                columns[c] = L::load(right.add(c * 16).cast());
            }
            each!(M, |i| {
                let unit = L::splat_u32(groups[i / 4].add(step + offsets[i % 4]).read_unaligned());
                each!(C, |c| sums[i][c] = dot::<L, KIND>(sums[i][c], unit, columns[c]));
            });
            if step & skip == 0 {
                L::prefetch(line);
                line = line.wrapping_add(16);
            }
            right = right.add(WIDTH);
            step += 1;
            if step >= p.steps {
                break;
            }
        }
        each!(C, |c| {
            if column + c * 16 < p.cols {
                let columns = Columns::of::<L, KIND>(p, column + c * 16);
                match p.how {
                    WRITE => each!(M, |i| finish::<L, KIND, WRITE>(p, sums[i][c], row + i, &columns)),
                    ADD => each!(M, |i| finish::<L, KIND, ADD>(p, sums[i][c], row + i, &columns)),
                    _ => each!(M, |i| finish::<L, KIND, BF16_OUT>(p, sums[i][c], row + i, &columns)),
                }
            }
        });
    }
}

/// One step of a sum.
#[inline(always)]
unsafe fn dot<L: Lanes, const KIND: u8>(sum: L::V, unit: L::V, columns: L::V) -> L::V {
    unsafe {
        match KIND {
            F32 => L::dot_f32(sum, unit, columns),
            BF16 => L::dot_bf16(sum, unit, columns),
            _ => L::dot_i8(sum, unit, columns),
        }
    }
}

/// What up to 16 columns of a result have in common, read once for all of its rows.
pub(super) struct Columns<V> {
    first: usize,
    n: usize,
    bias: V,
    /// int8 only.
    offset: V,
    scale: V,
}

impl<V: Copy> Columns<V> {
    /// From column `first`, which is one of the result.
    #[inline(always)]
    pub(super) unsafe fn of<L: Lanes<V = V>, const KIND: u8>(p: &Product, first: usize) -> Self {
        unsafe {
            let (n, zero) = ((p.cols - first).min(16), L::splat_u32(0));
            let bias = if p.bias.is_null() { zero } else { L::load_n(p.bias.add(first), n) };
            let (offset, scale) = match KIND {
                INT8 => (L::load(p.col_offset.add(first).cast()), L::load(p.col_scale.add(first))),
                _ => (zero, zero),
            };
            Columns { first, n, bias, offset, scale }
        }
    }
}

/// From the sums of a row to the values of the result.
#[inline(always)]
pub(super) unsafe fn finish<L: Lanes, const KIND: u8, const HOW: u8>(
    p: &Product,
    sums: L::V,
    row: usize,
    columns: &Columns<L::V>,
) {
    unsafe {
        let mut v = if KIND == INT8 {
            let scale = L::mul(L::splat(*p.row_scale.add(row)), columns.scale);
            L::fma(L::i32_to_f32(L::sub_i32(sums, columns.offset)), scale, columns.bias)
        } else {
            L::add(sums, columns.bias)
        };
        let at = row * p.out_stride + columns.first;
        if HOW == BF16_OUT {
            return L::store_u16(p.out.cast::<u16>().add(at), L::to_bf16(v), columns.n);
        }
        let out = p.out.cast::<f32>().add(at);
        if HOW == ADD {
            v = L::add(v, L::load_n(out, columns.n));
        }
        L::store_n(out, v, columns.n);
    }
}

/// Packed words of the left side or of weights: rows `[m, k]` with `from_stride` to `[m, steps]` packed words.
///
/// # Safety
/// As [`product`]; `scale` is written for int8 only, whose bytes are `round(x / scale) + 128`.
#[inline(always)]
pub(super) unsafe fn pack_rows<L: Lanes, const KIND: u8>(
    from: *const f32,
    from_stride: usize,
    m: usize,
    k: usize,
    to: *mut u32,
    steps: usize,
    scale: *mut f32,
) {
    unsafe {
        for row in 0..m {
            let (x, y) = (from.add(row * from_stride), to.add(row * steps));
            pack_row::<L, KIND>(x, k, y, steps, scale.wrapping_add(row));
        }
    }
}

/// One row of [`pack_rows`].
#[inline(always)]
unsafe fn pack_row<L: Lanes, const KIND: u8>(x: *const f32, k: usize, y: *mut u32, steps: usize, scale: *mut f32) {
    unsafe {
        if KIND == INT8 {
            let mut largest = L::splat(0.0);
            sixteens!(k, |i, n| {
                largest = L::max(largest, L::abs(L::load_n(x.add(i), n)));
            });
            return row_bytes::<L>(x, k, largest, y, steps, scale);
        }
        sixteens!(k, |i, n| {
            store_packed::<L, KIND>(y, i, L::load_n(x.add(i), n), n);
        });
    }
}

/// `n` values from the `i`th of a row on, f32 or bf16; what is in lane `n` fills the last unit up, and is to be zero.
#[inline(always)]
pub(super) unsafe fn store_packed<L: Lanes, const KIND: u8>(row: *mut u32, i: usize, v: L::V, n: usize) {
    unsafe {
        match KIND {
            F32 => L::store_n(row.add(i).cast(), v, n),
            _ => L::store_u16(row.cast::<u16>().add(i), L::to_bf16(v), n.next_multiple_of(2)),
        }
    }
}

/// The same from what [`store_packed`] stored.
#[inline(always)]
pub(super) unsafe fn load_packed<L: Lanes, const KIND: u8>(row: *const u32, i: usize, n: usize) -> L::V {
    unsafe {
        match KIND {
            F32 => L::load_n(row.add(i).cast(), n),
            _ => L::shl::<16>(L::load_u16(row.cast::<u16>().add(i), n)),
        }
    }
}

/// A row's bytes and scale; `largest` holds the magnitude of its largest value in one of the lanes.
#[inline(always)]
pub(super) unsafe fn row_bytes<L: Lanes>(
    x: *const f32,
    k: usize,
    largest: L::V,
    y: *mut u32,
    steps: usize,
    scale: *mut f32,
) {
    unsafe {
        let largest = L::largest(largest);
        *scale = largest / 127.0;
        let by = L::splat(if largest > 0.0 { 127.0 / largest } else { 0.0 });
        let middle = L::splat_u32(128);
        if steps > 0 {
            *y.add(steps - 1) = 0; // the part of the last unit past `k`
        }
        sixteens!(k, |i, n| {
            let v = L::round_i32(L::mul(L::load_n(x.add(i), n), by));
            L::store_u8(y.cast::<u8>().add(i), L::add_i32(v, middle), n);
        });
    }
}

/// Panels whose summed axis runs over rows: `x` is `[k, n]` with `stride`, row `s * per + j` is part `j` of step `s`.
///
/// # Safety
/// As [`product`]; `to` holds `n.div_ceil(32) * steps * 32` packed words. f32 or bf16.
#[inline(always)]
pub(super) unsafe fn panels_kn<L: Lanes, const KIND: u8>(
    x: *const f32,
    stride: usize,
    k: usize,
    n: usize,
    to: *mut u32,
    steps: usize,
) {
    unsafe {
        for panel in 0..n.div_ceil(WIDTH) {
            for step in 0..steps {
                for half in 0..2 {
                    let column = panel * WIDTH + half * 16;
                    let lanes = n.saturating_sub(column).min(16);
                    let row = |r: usize| {
                        if r < k && lanes > 0 { L::load_n(x.add(r * stride + column), lanes) } else { L::splat_u32(0) }
                    };
                    let v = match KIND {
                        F32 => row(step),
                        _ => L::or(L::to_bf16(row(2 * step)), L::shl::<16>(L::to_bf16(row(2 * step + 1)))),
                    };
                    L::store(to.add((panel * steps + step) * WIDTH + half * 16).cast(), v);
                }
            }
        }
    }
}

/// Rows of packed words back to f32: `[m, steps]` to `[m, k]`.
///
/// # Safety
/// As [`pack_rows`]. f32 or bf16.
#[inline(always)]
pub(super) unsafe fn unpack_rows<L: Lanes, const KIND: u8>(
    from: *const u32,
    steps: usize,
    m: usize,
    k: usize,
    to: *mut f32,
) {
    unsafe {
        for row in 0..m {
            let (x, y) = (from.add(row * steps), to.add(row * k));
            sixteens!(k, |i, n| {
                L::store_n(y.add(i), load_packed::<L, KIND>(x, i, n), n);
            });
        }
    }
}

/// Packed words over pairs of rows from packed words `[k, row_steps]` (bf16: two columns a unit): calls for columns
/// `column..column + 16` of step `step`.
#[inline(always)]
pub(super) unsafe fn stored_pair<L: Lanes, const KIND: u8>(
    x: *const u32,
    row_steps: usize,
    k: usize,
    step: usize,
    column: usize,
    lanes: usize,
) -> L::V {
    unsafe {
        if KIND == F32 {
            return L::load_n(x.add(step * row_steps + column).cast(), lanes);
        }
        let row = |r: usize| x.add(r * row_steps).cast::<u16>().add(column);
        let low = L::load_u16(row(2 * step), lanes);
        if 2 * step + 1 < k { L::or(low, L::shl::<16>(L::load_u16(row(2 * step + 1), lanes))) } else { low }
    }
}

/// [`panels_kn`] from packed words.
///
/// # Safety
/// As [`panels_kn`].
#[inline(always)]
pub(super) unsafe fn panels_of_packed<L: Lanes, const KIND: u8>(
    x: *const u32,
    row_steps: usize,
    k: usize,
    n: usize,
    to: *mut u32,
    steps: usize,
) {
    unsafe {
        for panel in 0..n.div_ceil(WIDTH) {
            for step in 0..steps {
                for half in 0..2 {
                    let column = panel * WIDTH + half * 16;
                    let lanes = n.saturating_sub(column).min(16);
                    let v = if lanes == 0 {
                        L::splat_u32(0)
                    } else {
                        stored_pair::<L, KIND>(x, row_steps, k, step, column, lanes)
                    };
                    L::store(to.add((panel * steps + step) * WIDTH + half * 16).cast(), v);
                }
            }
        }
    }
}

/// Panels whose columns are rows of packed words: `[n, steps]`, `stride` packed words apart.
///
/// # Safety
/// `from` is good for the rows, `to` for `n.div_ceil(32) * steps * 32` packed words.
#[inline(always)]
pub(super) unsafe fn panels_of_rows<L: Lanes>(from: *const u32, stride: usize, n: usize, steps: usize, to: *mut u32) {
    unsafe {
        for panel in 0..n.div_ceil(WIDTH) {
            let (from, to) = (from.add(panel * WIDTH * stride), to.add(panel * steps * WIDTH));
            let columns = (n - panel * WIDTH).min(WIDTH);
            if columns < WIDTH {
                to.write_bytes(0, steps * WIDTH);
            }
            turn::<L>(from, stride, columns, steps, to, WIDTH);
        }
    }
}

/// Packed words `[rows, columns]` to `[columns, rows]`, in blocks of sixteen by sixteen.
#[inline(always)]
unsafe fn turn<L: Lanes>(
    from: *const u32,
    from_stride: usize,
    rows: usize,
    columns: usize,
    to: *mut u32,
    to_stride: usize,
) {
    unsafe {
        for row in (0..rows).step_by(16) {
            for column in (0..columns).step_by(16) {
                let (from, to) = (from.add(row * from_stride + column), to.add(column * to_stride + row));
                let (height, width) = ((rows - row).min(16), (columns - column).min(16));
                if height == 16 && width == 16 {
                    L::transpose(from, from_stride, to, to_stride);
                } else {
                    transpose_some(from, from_stride, height, width, to, to_stride);
                }
            }
        }
    }
}

/// A block of any size, one unit after the other.
///
/// # Safety
/// Both sides are good for the block.
#[inline(always)]
pub(super) unsafe fn transpose_some(
    from: *const u32,
    from_stride: usize,
    rows: usize,
    columns: usize,
    to: *mut u32,
    to_stride: usize,
) {
    unsafe {
        for i in 0..rows {
            for j in 0..columns {
                *to.add(j * to_stride + i) = *from.add(i * from_stride + j);
            }
        }
    }
}

/// Left packed words of a transposed side: packed words of `[k, n]` to `[rows, steps]` for columns `first..first + rows`.
///
/// # Safety
/// As [`panels_kn`].
#[inline(always)]
pub(super) unsafe fn transpose_packed<L: Lanes, const KIND: u8>(
    x: *const u32,
    row_steps: usize,
    k: usize,
    first: usize,
    rows: usize,
    to: *mut u32,
    steps: usize,
) {
    unsafe {
        let mut block = [[0u32; 16]; 16];
        let mut row = 0;
        while row < rows {
            let lanes = (rows - row).min(16);
            let mut step = 0;
            while step < steps {
                let depth = (steps - step).min(16);
                for (s, line) in block.iter_mut().enumerate().take(depth) {
                    let v = stored_pair::<L, KIND>(x, row_steps, k, step + s, first + row, lanes);
                    L::store(line.as_mut_ptr().cast(), v);
                }
                turn::<L>(block.as_ptr().cast(), 16, depth, lanes, to.add(row * steps + step), steps);
                step += 16;
            }
            row += 16;
        }
    }
}
