// Where host and device share a memory; GPUs have theirs in tests/emulated_gpu.
#include "pipeline/tensor_checksums.hpp"

#include "layers/kernels/checksum.hpp"

#include <boost/test/unit_test.hpp>

#include <cstdint>
#include <vector>

using namespace sluice;

namespace {

std::uint64_t checksum_of(std::vector<float>& values)
{
    double sum = -1.0;
    kernels::launch(
        Stream{},
        kernels::Checksum{.x = view_of(values.data(), {static_cast<std::int64_t>(values.size())}),
                          .result = view_of(&sum, {1})});
    return static_cast<std::uint64_t>(sum);
}

} // namespace

BOOST_AUTO_TEST_SUITE(tensor_checksums)

BOOST_AUTO_TEST_CASE(weighted_sums_of_what_was_there)
{
    TensorChecksums checksums(Stream{}, 3, 3);
    std::vector<float> values = {1.0F, 2.0F, 3.0F};
    const TensorView view = view_of(values.data(), {3});
    const std::uint64_t first = checksum_of(values);
    checksums.add(2, view, 1);
    values[1] = 5.0F;
    const std::uint64_t second = checksum_of(values);
    checksums.add(2, view, 3);
    checksums.add(0, view, 5);
    values[1] = 7.0F;
    checksums.send();
    BOOST_TEST(first != second);
    BOOST_TEST(checksums.sums()[0] == 5 * second);
    BOOST_TEST(checksums.sums()[1] == 0U);
    BOOST_TEST(checksums.sums()[2] == first + 3 * second);
    BOOST_CHECK_THROW(checksums.add(0, view, 1), InvariantError); // a fourth of three

    checksums.clear();
    BOOST_TEST(checksums.sums()[2] == 0U);
    checksums.add(1, view, 1);
    checksums.send();
    BOOST_TEST(checksums.sums()[1] == checksum_of(values));
    BOOST_TEST(checksums.sums()[2] == 0U);
    BOOST_CHECK_THROW(checksums.add(3, view, 1), InvariantError);
}

BOOST_AUTO_TEST_CASE(the_lower_bits_travel)
{
    BOOST_TEST(folded(0xfff0'0000'0000'0001ULL, 52) == 1.0);
    BOOST_TEST(folded(0x000f'ffff'ffff'ffffULL, 52) == 0x1p52 - 1.0);
    BOOST_TEST(folded(0x000f'ffff'ffff'ffffULL, 40) == 0x1p40 - 1.0);
}

BOOST_AUTO_TEST_SUITE_END()
