// That what large_tensors and large_sums look for is seen.
#include "tests/layers/kernels/cuda/sparse_memory.hpp"

#include <boost/test/unit_test.hpp>

using sluice::testing::SparseMemory;

namespace {

constexpr std::size_t tebibyte = std::size_t{1} << 40;

void touch(const SparseMemory& memory, std::ptrdiff_t offset)
{
    static_cast<volatile std::byte*>(memory.data())[offset] = std::byte{1};
}
std::byte read(const SparseMemory& memory, std::ptrdiff_t offset)
{
    return static_cast<const volatile std::byte*>(memory.data())[offset];
}

} // namespace

BOOST_AUTO_TEST_SUITE(sparse_memory)

BOOST_AUTO_TEST_CASE(open_places_are_memory)
{
    SparseMemory memory(tebibyte);
    memory.open(0, 1);
    memory.open(tebibyte - 5000, 5000);
    touch(memory, 0);
    touch(memory, tebibyte - 1);
    BOOST_TEST((read(memory, 0) == std::byte{1} && read(memory, tebibyte - 1) == std::byte{1}));
    BOOST_TEST((read(memory, tebibyte - 5000) == std::byte{}));
    BOOST_TEST(SparseMemory::take_strays().empty());
}

BOOST_AUTO_TEST_CASE(what_is_closed_is_told)
{
    SparseMemory memory(tebibyte), other(tebibyte);
    memory.open(0, 1);
    touch(memory, SparseMemory::page);
    touch(memory, -(std::ptrdiff_t{60} << 30));
    BOOST_TEST((read(other, tebibyte + (std::ptrdiff_t{60} << 30)) == std::byte{}));
    const std::vector<std::string> strays = SparseMemory::take_strays();
    BOOST_REQUIRE_EQUAL(strays.size(), 3U);
    BOOST_TEST(strays[0] == "byte 4096 of a tensor of 1099511627776");
    BOOST_TEST(strays[1] == "byte -64424509440 of a tensor of 1099511627776");
    BOOST_TEST(strays[2] == "byte 1163936137216 of a tensor of 1099511627776");
    BOOST_TEST(SparseMemory::take_strays().empty());

    for (std::ptrdiff_t i = 10; i < 30; ++i)
        touch(other, i * static_cast<std::ptrdiff_t>(SparseMemory::page));
    BOOST_TEST(SparseMemory::take_strays().back() == "12 more");
}

BOOST_AUTO_TEST_SUITE_END()
