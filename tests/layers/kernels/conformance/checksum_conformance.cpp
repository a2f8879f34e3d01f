#include "layers/kernels/checksum.hpp"

#include "tests/layers/kernels/conformance/conformance_case.hpp"

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <set>
#include <utility>

using namespace sluice;
using namespace sluice::testing;
using kernels::Checksum;

namespace {

/// The reference's, of the very bytes that the backend under test is given.
double expected_of(Case& c, Operand& x)
{
    std::vector<std::byte> bytes = c.bits_of(x);
    double sum = 0.0;
    run(kernels::Reference{},
        Checksum{.x = {bytes.data(), x.dtype, x.shape, Device{}}, .result = view_of(&sum, {1})});
    return sum;
}

Operand launched(Case& c, Operand& x)
{
    Operand result = c.poisoned({1}, DType::f64);
    c.launch_tested([&](auto side) { return Checksum{.x = side(x), .result = side(result)}; });
    return result;
}

void check_random(std::int64_t n)
{
    check_conformance([n](Case& c) {
        if (n > 100000 && one_type_will_do(c))
            return;
        Operand x = c.random({n}, c.compute(), static_cast<std::uint64_t>(n), 3.0);
        Operand result = launched(c, x);
        result.values[0] = expected_of(c, x);
        c.check_exactly(result, std::to_string(n));
    });
}

double sum_of(Case& c, const std::vector<std::int32_t>& words)
{
    Operand x = c.token_ids(words);
    Operand result = launched(c, x);
    double sum;
    std::memcpy(&sum, c.bits_of(result).data(), sizeof sum);
    return sum;
}

} // namespace

BOOST_AUTO_TEST_SUITE(checksum)

BOOST_AUTO_TEST_CASE(every_edge)
{
    // A GPU's thread takes 16 bytes, a warp 512, a block 4096, four times over; a CPU's 64, and a
    // thread 64 KiB. Elements of 4 bytes and of 2.
    for (const std::int64_t n :
         {0,    1,    2,    3,    4,    5,    6,     7,     8,     9,     15,    16,    17,
          127,  128,  129,  255,  256,  257,  1023,  1024,  1025,  2047,  2048,  2049,  4095,
          4096, 4097, 5003, 8191, 8192, 8193, 16383, 16384, 16385, 32767, 32768, 32769, 70001})
        check_random(n);
}

BOOST_AUTO_TEST_CASE(more_words_than_parts)
{
    // 1024 parts of more than one pass (16 KiB) each, in elements of 2 bytes.
    check_random(1024 * 8192 + 12345);
}

BOOST_AUTO_TEST_CASE(every_bit_counts)
{
    check_conformance([](Case& c) {
        const std::vector<std::int32_t> words = {0, 7, -1, 1 << 30, 12345};
        std::set<double> sums = {sum_of(c, words)};
        for (std::size_t i = 0; i < words.size(); ++i)
            for (int bit = 0; bit < 32; ++bit) {
                std::vector<std::int32_t> flipped = words;
                flipped[i] = static_cast<std::int32_t>(static_cast<std::uint32_t>(flipped[i]) ^
                                                       (std::uint32_t{1} << bit));
                BOOST_TEST(
                    sums.insert(sum_of(c, flipped)).second,
                    c.name("bit " + std::to_string(bit) + " of element " + std::to_string(i)));
            }
    });
}

BOOST_AUTO_TEST_CASE(every_place_counts)
{
    check_conformance([](Case& c) {
        const std::vector<std::int32_t> words = {11, 12, 21, 22, 31, 32, 41, 42, 51, 52};
        std::set<double> sums = {sum_of(c, words)};
        for (std::size_t i = 0; i < words.size(); i += 2)
            for (std::size_t j = i + 2; j < words.size(); j += 2) {
                std::vector<std::int32_t> swapped = words;
                std::swap(swapped[i], swapped[j]);
                std::swap(swapped[i + 1], swapped[j + 1]);
                BOOST_TEST(sums.insert(sum_of(c, swapped)).second,
                           c.name("words at " + std::to_string(i) + " and " + std::to_string(j)));
                // The same bit of two words, as from one bad line of a memory.
                std::vector<std::int32_t> flipped = words;
                for (const std::size_t k : {i, j})
                    flipped[k] ^= 1 << 30;
                BOOST_TEST(sums.insert(sum_of(c, flipped)).second,
                           c.name("a bit at " + std::to_string(i) + " and " + std::to_string(j)));
            }
    });
}

BOOST_AUTO_TEST_SUITE_END()
