#include "core/checksum.hpp"

#include "core/durable_file.hpp"
#include "core/error.hpp"
#include "tests/temporary_folder.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

namespace {

std::span<const std::byte> bytes_of(const std::string& text)
{
    return std::as_bytes(std::span(text));
}

} // namespace

BOOST_AUTO_TEST_SUITE(checksum)

// As `xxhsum -H2` prints them.
BOOST_AUTO_TEST_CASE(known_answers)
{
    BOOST_TEST(checksum_of({}) == "99aa06d3014798d86001c324468d497f");
    BOOST_TEST(checksum_of(bytes_of("a")) == "a96faf705af16834e6c632b61e964e1f");
}

BOOST_AUTO_TEST_CASE(pieces_files_and_wholes_agree)
{
    std::string text;
    for (int i = 0; i < 400'000; ++i)
        text += std::to_string(i);
    const std::string whole = checksum_of(bytes_of(text));
    Checksum pieces;
    for (std::size_t begin = 0; begin < text.size(); begin += 1021)
        pieces.update(bytes_of(text.substr(begin, 1021)));
    pieces.update({});
    BOOST_TEST(pieces.hex() == whole);
    BOOST_TEST(pieces.hex() == whole); // asking changes nothing

    const testing::TemporaryFolder folder;
    write_file_durably(folder / "file", text);
    BOOST_TEST(checksum_of_file(folder / "file") == whole);
    text[1'000'000] ^= 1;
    BOOST_TEST(checksum_of(bytes_of(text)) != whole);
    BOOST_CHECK_THROW(checksum_of_file(folder / "absent"), UserError);
    BOOST_CHECK_THROW(checksum_of_file(folder.path()), UserError);
}

BOOST_AUTO_TEST_SUITE_END()
