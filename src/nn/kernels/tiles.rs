//! Products of bf16 and int8 on tiles (AMX): eight registers of 16 rows with 64 bytes each, and one instruction that adds
//! sixteen steps to 16 x 16 sums.
//!
//! The layouts of [`super::gemm`] are tiles as they are. Sixteen left rows are an A tile of sixteen units a row; sixteen
//! steps of a panel are two B tiles side by side, a row every 128 bytes. A block of the result is 32 rows by the 32 columns
//! of a panel: four tiles of sums, two of A and two of B, which is all there are.
//!
//! A sum takes the whole sixteens of its steps on tiles, then the steps left over on lanes, one by one, from what the tiles
//! gave. So its order depends on the number of steps alone and a row has the same bits in any batch. Sums of int8 are exact
//! and equal those of every unit; bf16's even and odd values have running sums of their own within sixteen steps, so its
//! bits differ from the other units'.
//!
//! The instructions are methods of [`Tiles`], because the tests run them on emulated tiles where the CPU has none. The sums of
//! a block are one piece of assembly, [`program`]: no compiler can then put anything between its instructions, and what the
//! emulator reads is the very text that is assembled.
//!
//! A block's lanes (the steps left over, scales, bias) come after the tiles of the next block were begun, so that one can
//! overlap with the other. Not measured yet, for want of a machine. To try there: left rows stored in the order of tiles, and
//! two panels at once below 17 rows, which have too few sums on their way to fill the unit.

use std::mem::MaybeUninit;

use super::gemm::{self, ADD, BF16_OUT, Columns, LEFT_BYTES, Product, WIDTH, WRITE, dot, finish};
use super::lanes::Lanes;

/// Rows of a tile, and units in a row of it.
const SIDE: usize = 16;
/// Rows of a block.
const ROWS: usize = 2 * SIDE;

/// What LDTILECFG reads: the shapes of the eight tiles.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
pub(super) struct Config {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    /// Bytes in a row; only eight of sixteen tiles are there.
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

impl Config {
    /// For blocks of `rows`, 1 to 32, as [`program`] names the tiles. The lower half of a block has always a row, for a tile
    /// without one is an error; below 17 rows it is the first row again, and nobody looks at its sums.
    pub(super) fn of(rows: usize) -> Config {
        let (upper, lower) = (rows.min(SIDE) as u8, rows.saturating_sub(SIDE).max(1) as u8);
        let mut config = Config { palette: 1, start_row: 0, reserved: [0; 14], row_bytes: [0; 16], rows: [0; 16] };
        config.row_bytes[..8].fill(64);
        config.rows[..8].copy_from_slice(&[upper, upper, lower, lower, upper, lower, 16, 16]);
        config
    }
}

/// The sums of a block, row by row.
#[repr(C, align(64))]
pub(super) struct Sums([[u32; WIDTH]; ROWS]);

/// What [`program`] works on.
pub(super) struct Block {
    /// The first row, and the first row of the lower half.
    pub left: *const u32,
    pub below: *const u32,
    /// Bytes from one left row to the next, and from one step of a panel (or row of sums) to the next.
    pub stride: usize,
    pub width: usize,
    pub panel: *const u32,
    /// Sixteens of steps, at least 1.
    pub count: usize,
    pub sums: *mut Sums,
}

/// The instructions of tiles. Their state belongs to the thread.
///
/// # Safety
/// Every method needs a CPU (or an emulator) with tiles, [`Tiles::sums`] also a configuration.
pub(super) unsafe trait Tiles: Default {
    /// Gives the tiles their shapes, and zeroes them.
    unsafe fn configure(&mut self, config: &Config);
    /// Runs [`program`]: reads the configured rows of `block` and sixteens of steps, and writes its sums.
    unsafe fn sums<const KIND: u8>(&mut self, block: &Block);
    /// Gives the tiles up: a thread that holds some is dearer to switch.
    unsafe fn release(&mut self);
}

/// The sums of a block, in Intel's syntax: the instruction named adds A (second operand) times B (third) to the first.
/// Registers are named as the fields of [`Block`].
macro_rules! program {
    ($dot:literal) => {
        concat!(
            "tilezero tmm0\n",
            "tilezero tmm1\n",
            "tilezero tmm2\n",
            "tilezero tmm3\n",
            "2:\n",
            "tileloadd tmm4, [{left} + {stride}*1]\n",
            "tileloadd tmm5, [{below} + {stride}*1]\n",
            "tileloadd tmm6, [{panel} + {width}*1]\n",
            "tileloadd tmm7, [{panel} + {width}*1 + 64]\n",
            $dot,
            " tmm0, tmm4, tmm6\n",
            $dot,
            " tmm1, tmm4, tmm7\n",
            $dot,
            " tmm2, tmm5, tmm6\n",
            $dot,
            " tmm3, tmm5, tmm7\n",
            "add {left}, 64\n",
            "add {below}, 64\n",
            "add {panel}, 2048\n",
            "dec {count}\n",
            "jnz 2b\n",
            "tilestored [{sums} + {width}*1], tmm0\n",
            "tilestored [{sums} + {width}*1 + 64], tmm1\n",
            "tilestored [{sums} + {width}*1 + 2048], tmm2\n",
            "tilestored [{sums} + {width}*1 + 2112], tmm3",
        )
    };
}
pub(super) use program;

/// [`gemm::product`] on tiles; bf16 or int8.
///
/// # Safety
/// As [`gemm::product`], and the tiles are there.
#[inline(always)]
pub(super) unsafe fn product<L: Lanes, T: Tiles, const KIND: u8>(p: &Product) {
    unsafe {
        if p.steps < SIDE {
            return gemm::product::<L, KIND>(p);
        }
        let mut tiles = T::default();
        let full = p.rows / ROWS * ROWS;
        for (first, last, rows) in [(0, full, ROWS), (full, p.rows, p.rows - full)] {
            if first < last {
                tiles.configure(&Config::of(rows));
                strips::<L, T, KIND>(&mut tiles, p, first, last, rows);
            }
        }
        tiles.release();
    }
}

/// A block whose sums are on their way.
struct Pending {
    row: usize,
    panel: usize,
    /// The panel to fetch meanwhile, or null.
    ahead: *const u32,
}

/// Rows `first..last` in strips of `rows`, panels outside as in [`gemm::product`].
#[inline(always)]
unsafe fn strips<L: Lanes, T: Tiles, const KIND: u8>(
    tiles: &mut T,
    p: &Product,
    first: usize,
    last: usize,
    rows: usize,
) {
    unsafe {
        let stay = (LEFT_BYTES / (p.steps * 4) / ROWS).max(1) * ROWS;
        let panels = p.cols.div_ceil(WIDTH);
        let mut sums = [const { MaybeUninit::<Sums>::uninit() }; 2];
        let mut turn = 0;
        let mut before: Option<Pending> = None;
        let mut start = first;
        while start < last {
            let end = (start + stay).min(last);
            for panel in 0..panels {
                let next = p.panels.wrapping_add((panel + 1) % panels * p.steps * WIDTH);
                let mut row = start;
                while row < end {
                    let left = p.left.add(row * p.stride);
                    tiles.sums::<KIND>(&Block {
                        left,
                        below: if rows > SIDE { left.add(SIDE * p.stride) } else { left },
                        stride: 4 * p.stride,
                        width: 4 * WIDTH,
                        panel: p.panels.add(panel * p.steps * WIDTH),
                        count: p.steps / SIDE,
                        sums: sums[turn].as_mut_ptr(),
                    });
                    turn = 1 - turn;
                    let ahead = if row == start { next } else { std::ptr::null() };
                    if let Some(before) = before.replace(Pending { row, panel, ahead }) {
                        rest::<L, KIND>(p, &before, rows, sums[turn].as_ptr());
                    }
                    row += rows;
                }
            }
            start = end;
        }
        if let Some(before) = before {
            rest::<L, KIND>(p, &before, rows, sums[1 - turn].as_ptr());
        }
    }
}

/// What a block has besides its tiles: the steps left over, and from sums to results.
#[inline(always)]
#[allow(clippy::needless_range_loop)] // as in `gemm`
unsafe fn rest<L: Lanes, const KIND: u8>(p: &Product, block: &Pending, rows: usize, sums: *const Sums) {
    unsafe {
        let column = block.panel * WIDTH;
        let first = Columns::of::<L, KIND>(p, column);
        let second = (column + 16 < p.cols).then(|| Columns::of::<L, KIND>(p, column + 16));
        let right = p.panels.add(block.panel * p.steps * WIDTH);
        let sixteens = p.steps / SIDE;
        let mut ahead = block.ahead;
        for i in 0..rows {
            // 32 rows fetch 32 lines for each of its sixteens: a panel
            for _ in 0..if ahead.is_null() { 0 } else { sixteens } {
                L::prefetch(ahead);
                ahead = ahead.wrapping_add(16);
            }
            let left = p.left.add((block.row + i) * p.stride);
            let line: *const f32 = sums.cast::<f32>().add(i * WIDTH);
            let mut v = [L::load(line), L::load(line.add(16))];
            for step in sixteens * SIDE..p.steps {
                let unit = L::splat_u32(left.add(step).read_unaligned());
                for c in 0..2 {
                    v[c] = dot::<L, KIND>(v[c], unit, L::load(right.add(step * WIDTH + c * 16).cast()));
                }
            }
            for (v, columns) in v.into_iter().zip([Some(&first), second.as_ref()]) {
                let Some(columns) = columns else { break };
                match p.how {
                    WRITE => finish::<L, KIND, WRITE>(p, v, block.row + i, columns),
                    ADD => finish::<L, KIND, ADD>(p, v, block.row + i, columns),
                    _ => finish::<L, KIND, BF16_OUT>(p, v, block.row + i, columns),
                }
            }
        }
    }
}
