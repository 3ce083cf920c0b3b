//! Compressed clusters of a qcow2 image, decompressed.
//!
//! Source: "Qcow2 Image File Format", sections "Header" (compression type) and "Cluster mapping".

use crate::qcow2_header::Compression;
use std::io::Read;

/// The `len` bytes of a cluster; `None` if `packed` does not make as many. What follows them in `packed` does not matter: its
/// length is only known in sectors.
pub fn unpack(packed: &[u8], len: usize, compression: Compression) -> Option<Vec<u8>> {
    let mut bytes = vec![0; len];
    match compression {
        Compression::Deflate => {
            let mut stream = flate2::Decompress::new(false);
            // One call makes all there is, as both buffers are whole.
            let _ = stream.decompress(packed, &mut bytes, flate2::FlushDecompress::Finish);
            (stream.total_out() == len as u64).then_some(bytes)
        }
        Compression::Zstd => {
            let mut stream = ruzstd::decoding::StreamingDecoder::new(packed).ok()?;
            stream.read_exact(&mut bytes).ok()?;
            Some(bytes)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attack_a_compressed_cluster_of_nonsense() {
        for compression in [Compression::Deflate, Compression::Zstd] {
            assert_eq!(unpack(&[], 512, compression), None);
            assert_eq!(unpack(&[0xff; 512], 512, compression), None);
            assert_eq!(unpack(&[0; 512], 512, compression), None);
        }
    }

    #[test]
    fn attack_a_compressed_cluster_that_makes_more_than_a_cluster() {
        let mut stream = flate2::Compress::new(flate2::Compression::best(), false);
        let mut packed = Vec::with_capacity(4096);
        stream.compress_vec(&[7; 100_000], &mut packed, flate2::FlushCompress::Finish).unwrap();
        assert_eq!(unpack(&packed, 512, Compression::Deflate), Some(vec![7; 512]));
        assert_eq!(unpack(&packed, 200_000, Compression::Deflate), None);
    }
}
