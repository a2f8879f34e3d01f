// A number by which to tell whether a tensor has changed, the same on every backend: what ranks
// send each other is compared by it.
#pragma once

#include "layers/kernels/launch.hpp"

#include <cstdint>

namespace sluice::kernels {

/// The bytes of x are words w_0, w_1, ... of 64 bits (little-endian, zeros behind the last byte).
/// result[0] = sum of checksum_term(w_i + (i + 1) checksum_step) over all i, modulo 2^52: a whole
/// number that float64 holds exactly, in whatever order it was added up. A term is one to one in
/// the word, so that no change of a single word can go unseen but for the upper bits that are cut
/// off.
struct Checksum {
    TensorView x;      ///< any shape and type, in
    TensorView result; ///< [1] f64 overwritten
};

inline constexpr std::uint64_t checksum_mask = (std::uint64_t{1} << 52) - 1;
inline constexpr std::uint64_t checksum_step = 0x9e3779b97f4a7c15;

/// SplitMix64: Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014), with
/// the constants of Vigna's version. Of one word, or of each in a vector of them.
template <class Words>
constexpr Words checksum_term(Words word)
{
    word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9U;
    word = (word ^ (word >> 27)) * 0x94d049bb133111ebU;
    return word ^ (word >> 31);
}

void run(Reference, const Checksum&);
void run(Cpu, const Checksum&);
void run(Cuda, const Checksum&);

} // namespace sluice::kernels
