//! Tiles in plain Rust, after the pseudo-code of Intel's manual: products on tiles are tested where no CPU has them. It
//! reads the text that is assembled for the real ones, and panics where those would fault.
use super::gemm::{BF16, INT8, Product};
use super::lanes::Lanes;
use super::portable::{flush, fma_flush};
use super::tiles::{self, Config, Operands, STEP_BYTES, Sums, Tiles, program};

/// Rows and bytes in each.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Shape {
    rows: usize,
    bytes: usize,
}

#[derive(Default)]
struct Emulator {
    shapes: Option<[Shape; 8]>,
    /// Tiles, rows, units.
    tiles: [[[u32; 16]; 16]; 8],
}

/// # Safety
/// As [`tiles::product`].
#[inline(always)]
pub(super) unsafe fn product<L: Lanes, const KIND: u8>(p: &Product) {
    // SAFETY: the caller's promise
    unsafe { tiles::product::<L, Emulator, KIND>(p) }
}

// SAFETY: reads and writes what the text names, in the configured rows and bytes.
unsafe impl Tiles for Emulator {
    unsafe fn configure(&mut self, config: &Config) {
        let bytes = bytemuck::bytes_of(config);
        assert_eq!(bytes.len(), 64);
        assert!(bytes[0] == 1 && bytes[1] == 0, "palette {} from row {}", bytes[0], bytes[1]);
        let reserved = [2..16, 32..48, 56..64];
        assert!(reserved.into_iter().all(|at| bytes[at].iter().all(|b| *b == 0)), "reserved bytes");
        let shapes = std::array::from_fn(|i| Shape {
            rows: usize::from(bytes[48 + i]),
            bytes: usize::from(u16::from_le_bytes([bytes[16 + 2 * i], bytes[17 + 2 * i]])),
        });
        for shape in shapes {
            assert!(shape.rows <= 16 && shape.bytes <= 64 && (shape.rows == 0) == (shape.bytes == 0), "{shape:?}");
        }
        (self.shapes, self.tiles) = (Some(shapes), Default::default());
    }
    unsafe fn begin(&mut self) {
        // SAFETY: no address is in it.
        unsafe { self.run(program!(begin), &[]) }
    }
    unsafe fn steps<const KIND: u8>(&mut self, operands: &Operands) {
        let text = match KIND {
            BF16 => program!(steps "tdpbf16ps"),
            INT8 => program!(steps "tdpbusd"),
            _ => panic!("no tiles for f32"),
        };
        let registers = [
            ("{left}", operands.left.expose_provenance()),
            ("{below}", operands.below.expose_provenance()),
            ("{panel}", operands.panel.expose_provenance()),
            ("{stride}", operands.stride),
            ("{width}", STEP_BYTES),
        ];
        // SAFETY: the caller vouches for the pointers.
        unsafe { self.run(text, &registers) }
    }
    unsafe fn end(&mut self, sums: *mut Sums) {
        // SAFETY: as in `steps`.
        unsafe { self.run(program!(end), &[("{width}", STEP_BYTES), ("{sums}", sums.expose_provenance())]) }
    }
    unsafe fn release(&mut self) {
        (self.shapes, self.tiles) = (None, Default::default());
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        assert!(self.shapes.is_none() || std::thread::panicking(), "tiles were not released");
    }
}

impl Emulator {
    /// Runs lines of assembly.
    unsafe fn run(&mut self, text: &str, registers: &[(&str, usize)]) {
        for line in text.lines() {
            let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
            let operands: Vec<&str> = rest.split(", ").collect();
            match (name, &operands[..]) {
                ("tilezero", [t]) => self.zero(tile(t)),
                // SAFETY: as the caller says.
                ("tileloadd" | "tileloaddt1", [t, from]) => unsafe { self.load(tile(t), address(from, registers)) },
                // SAFETY: as the caller says.
                ("tilestored", [to, t]) => unsafe { self.store(tile(t), address(to, registers)) },
                ("tdpbf16ps", [c, a, b]) => self.dot::<BF16>(tile(c), tile(a), tile(b)),
                ("tdpbusd", [c, a, b]) => self.dot::<INT8>(tile(c), tile(a), tile(b)),
                _ => panic!("{line}: no such instruction"),
            }
        }
    }

    /// Rows and units of a row.
    fn shape(&self, tile: usize) -> (usize, usize) {
        let shape = self.shapes.expect("tiles are configured before use")[tile];
        assert!(shape.rows > 0 && shape.bytes.is_multiple_of(4), "tile {tile}: {shape:?}");
        (shape.rows, shape.bytes / 4)
    }

    fn zero(&mut self, tile: usize) {
        self.shape(tile);
        self.tiles[tile] = Default::default();
    }

    unsafe fn load(&mut self, tile: usize, (base, stride): (usize, usize)) {
        self.zero(tile);
        let (rows, units) = self.shape(tile);
        for (i, row) in self.tiles[tile].iter_mut().enumerate().take(rows) {
            let from: *const u32 = std::ptr::with_exposed_provenance(base.wrapping_add(i * stride));
            for (j, unit) in row.iter_mut().enumerate().take(units) {
                // SAFETY: a configured unit of the tile, which the caller vouches for.
                *unit = unsafe { from.add(j).read_unaligned() };
            }
        }
    }

    unsafe fn store(&self, tile: usize, (base, stride): (usize, usize)) {
        let (rows, units) = self.shape(tile);
        for (i, row) in self.tiles[tile].iter().enumerate().take(rows) {
            let to: *mut u32 = std::ptr::with_exposed_provenance_mut(base.wrapping_add(i * stride));
            for (j, unit) in row.iter().enumerate().take(units) {
                // SAFETY: as in `load`.
                unsafe { to.add(j).write_unaligned(*unit) };
            }
        }
    }

    /// TDPBF16PS or TDPBUSD.
    fn dot<const KIND: u8>(&mut self, c: usize, a: usize, b: usize) {
        let ((m, n), (a_rows, k), (b_rows, b_units)) = (self.shape(c), self.shape(a), self.shape(b));
        assert!(c != a && c != b && a != b, "tiles {c}, {a}, {b}");
        assert!(a_rows == m && b_rows == k && b_units == n, "{m} x {n}, {a_rows} x {k}, {b_rows} x {b_units}");
        let (a, b) = (self.tiles[a], self.tiles[b]);
        let high = |unit: u32| f32::from_bits(unit & 0xffff_0000);
        let low = |unit: u32| f32::from_bits(unit << 16);
        for (sums, a) in self.tiles[c].iter_mut().zip(a).take(m) {
            let mut halves = [[0f32; 2]; 16];
            for (unit, b) in a.into_iter().zip(b).take(k) {
                for j in 0..n {
                    if KIND == BF16 {
                        halves[j][0] = fma_flush(low(unit), low(b[j]), halves[j][0]);
                        halves[j][1] = fma_flush(high(unit), high(b[j]), halves[j][1]);
                    } else {
                        for (x, y) in unit.to_le_bytes().into_iter().zip(b[j].to_le_bytes()) {
                            sums[j] = sums[j].wrapping_add((i32::from(x) * i32::from(y as i8)) as u32);
                        }
                    }
                }
            }
            if KIND == BF16 {
                for (sum, [even, odd]) in sums.iter_mut().zip(halves).take(n) {
                    *sum = flush(flush(f32::from_bits(*sum)) + flush(even + odd)).to_bits();
                }
            }
        }
    }
}

fn tile(name: &str) -> usize {
    name.strip_prefix("tmm")
        .and_then(|n| n.parse().ok())
        .filter(|n| *n < 8)
        .unwrap_or_else(|| panic!("{name}: no tile"))
}

/// `[base + index*1 + offset]`: where the first row is, and bytes to the next.
fn address(text: &str, registers: &[(&str, usize)]) -> (usize, usize) {
    let register =
        |name: &str| registers.iter().find(|r| r.0 == name).unwrap_or_else(|| panic!("{name}: no register")).1;
    let inner = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap();
    let parts: Vec<&str> = inner.split(" + ").collect();
    let stride = register(parts[1].strip_suffix("*1").unwrap());
    (register(parts[0]) + parts.get(2).map_or(0, |offset| offset.parse::<usize>().unwrap()), stride)
}

/// Tiles of these shapes (rows, bytes).
fn configured(shapes: &[(u8, u16)]) -> Emulator {
    let mut bytes = [0; 64];
    bytes[0] = 1;
    for (i, (rows, row_bytes)) in shapes.iter().enumerate() {
        bytes[16 + 2 * i..][..2].copy_from_slice(&row_bytes.to_le_bytes());
        bytes[48 + i] = *rows;
    }
    let mut emulator = Emulator::default();
    // SAFETY: an emulator needs nothing of the CPU.
    unsafe { emulator.configure(&bytemuck::cast(bytes)) };
    emulator
}

#[test]
fn dot_products_by_hand() {
    // a row of two units; two rows of one unit
    let shapes = [(1, 4), (1, 8), (2, 4)];
    let dot = |kind: u8, a: [u32; 2], b: [u32; 2]| {
        let mut e = configured(&shapes);
        e.tiles[1][0][..2].copy_from_slice(&a);
        (e.tiles[2][0][0], e.tiles[2][1][0]) = (b[0], b[1]);
        for _ in 0..2 {
            if kind == BF16 { e.dot::<BF16>(0, 1, 2) } else { e.dot::<INT8>(0, 1, 2) }
        }
        let sum = e.tiles[0][0][0];
        // SAFETY: as above.
        unsafe { e.release() };
        sum
    };
    // left bytes are unsigned, right ones signed; two times
    let bytes = |b: [i32; 4]| u32::from_le_bytes(b.map(|b| b as u8));
    let sum =
        dot(INT8, [bytes([255, 1, 2, 3]), bytes([128, 0, 0, 9])], [bytes([-128, 1, -1, 0]), bytes([2, 7, 7, -1])]);
    assert_eq!(sum as i32, 2 * (255 * -128 + 1 - 2 + 128 * 2 - 9));
    // 2^24 + 1 is 2^24 among the even values, 1 + 1 is 2 among the odd ones; one running sum would lose all three ones
    let pair = |even: f32, odd: f32| {
        u32::from(half::bf16::from_f32(odd).to_bits()) << 16 | u32::from(half::bf16::from_f32(even).to_bits())
    };
    let ones = [pair(1.0, 1.0); 2];
    assert_eq!(f32::from_bits(dot(BF16, [pair(16_777_216.0, 1.0), ones[0]], ones)), 2.0 * 16_777_218.0);
    // a subnormal product is 0, and so is a subnormal value
    let tiny = 2f32.powi(-100);
    assert_eq!(dot(BF16, [pair(tiny, 1e-40), 0], [pair(2f32.powi(-40), 1e30), 0]), 0);
}

#[test]
fn what_the_cpu_would_refuse_is_refused() {
    let refused = |run: fn()| assert!(std::panic::catch_unwind(run).is_err());
    refused(|| drop(configured(&[(17, 64)])));
    refused(|| drop(configured(&[(16, 68)])));
    refused(|| drop(configured(&[(0, 64)])));
    refused(|| drop(configured(&[(16, 0)])));
    refused(|| drop(configured(&[(0, 0); 9].map(|_| (1, 4)))));
    refused(|| Emulator::default().zero(0));
    refused(|| configured(&[(16, 64)]).zero(1));
    refused(|| configured(&[(16, 63)]).zero(0));
    refused(|| configured(&[(16, 64); 3]).dot::<INT8>(0, 1, 1));
    refused(|| configured(&[(16, 64), (15, 64), (16, 64)]).dot::<INT8>(0, 1, 2));
    refused(|| configured(&[(16, 64), (16, 64), (15, 64)]).dot::<INT8>(0, 1, 2));
    refused(|| configured(&[(16, 60), (16, 64), (16, 64)]).dot::<BF16>(0, 1, 2));
    // and tiles as a product leaves them
    refused(|| drop(configured(&[(16, 64)])));
}
