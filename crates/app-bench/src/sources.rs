//! The guests' sources, so that a Hostel that was installed without its tree can build them.

/// A file of `guests/bench`, by its name there.
macro_rules! files {
    ($($name:literal)*) => {
        &[$(($name, include_str!(concat!("../../../guests/bench/", $name)))),*]
    };
}

/// Every file, with its text.
pub const FILES: &[(&str, &str)] = files!(
    "bench.h" "board.c" "chase.h" "chase_32m.c" "chase_l1.c" "copy.c" "core.c" "empty.S" "fib.c" "interp.c" "linux.c" "link.ld"
    "main.c" "mandel.c" "matmul.c" "micro.S" "micro.c" "nbody_f32.c" "python.py" "qsort.c" "sha.c" "sieve.c" "smp.c"
    "sort.c" "start.S" "strings.c"
);

/// The text of the file of that name.
pub fn text(name: &str) -> Option<&'static str> {
    FILES.iter().find(|file| file.0 == name).map(|file| file.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_of_the_folder_is_here() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../guests/bench");
        let mut there: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        there.sort();
        let mut here: Vec<&str> = FILES.iter().map(|file| file.0).collect();
        here.sort_unstable();
        assert_eq!(there, here);
    }
}
