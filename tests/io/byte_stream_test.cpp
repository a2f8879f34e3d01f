#include "io/byte_stream.hpp"

#include "tests/io/text_fixture.hpp"

#include <vector>

using namespace sluice;
using namespace sluice::testing;

namespace {

/// The whole stream, in reads of `step` bytes.
std::string unpack(const std::string& path, std::size_t step = 1000)
{
    ByteStream stream(path);
    std::string text;
    std::vector<char> chunk(step);
    for (std::size_t got = step; got == step;) {
        got = stream.read(chunk);
        text.append(chunk.data(), got);
    }
    BOOST_TEST(stream.file_offset() == std::filesystem::file_size(path));
    return text;
}

} // namespace

BOOST_AUTO_TEST_SUITE(byte_stream)

BOOST_AUTO_TEST_CASE(plain_and_gzipped_files_give_the_same_text)
{
    const TextFolder folder;
    const std::string text = some_text(700'001, 1); // beyond the stream's own buffer
    const std::string plain = folder.write("a.txt", text);
    const std::string packed = folder.write("a.txt.gz", gzip(text));
    for (const std::size_t step : {1000u, 65536u, 1u << 20}) {
        BOOST_TEST((unpack(plain, step) == text));
        BOOST_TEST((unpack(packed, step) == text));
    }
    BOOST_TEST(ByteStream(packed).is_gzip());
    BOOST_TEST(!ByteStream(plain).is_gzip());
}

BOOST_AUTO_TEST_CASE(several_members_are_one_text)
{
    const TextFolder folder;
    std::string text, packed;
    for (std::uint32_t i = 0; i < 50; ++i) {
        const std::string part = some_text(i % 5 == 0 ? 0 : 20'000, i);
        text += part;
        packed += gzip(part);
    }
    BOOST_TEST((unpack(folder.write("members.gz", packed)) == text));
    BOOST_TEST((unpack(folder.write("padded.gz", packed + std::string(600'000, '\0'))) == text));
}

BOOST_AUTO_TEST_CASE(gzip_is_known_by_its_content)
{
    const TextFolder folder;
    BOOST_TEST(unpack(folder.write("no_extension", gzip("flow"))) == "flow");
    BOOST_TEST(unpack(folder.write("empty.txt", "")) == "");
    BOOST_TEST(unpack(folder.write("one.txt", "x")) == "x");
    const std::string liar = folder.write("text.gz", "just text");
    check_data_error([&] { unpack(liar); }, {"text.gz", "not a gzip file"});
}

BOOST_AUTO_TEST_CASE(damage_names_the_file_and_the_place)
{
    const TextFolder folder;
    const std::string packed = gzip(some_text(400'000, 2));
    std::string flipped = packed;
    flipped[flipped.size() / 2] ^= 0x55;
    const std::string damaged = folder.write("flipped.gz", flipped);
    check_data_error([&] { unpack(damaged); }, {"flipped.gz", "damaged", "at byte "});

    const std::string cut = folder.write("cut.gz", packed.substr(0, packed.size() / 2));
    check_data_error([&] { unpack(cut); },
                     {"cut.gz", "in the middle", std::to_string(packed.size() / 2)});

    std::string bad_sum = packed;
    bad_sum[bad_sum.size() - 6] ^= 1;
    const std::string summed = folder.write("sum.gz", bad_sum);
    check_data_error([&] { unpack(summed); }, {"sum.gz", "data check"});

    const std::string trailing = folder.write("trailing.gz", packed + "rubbish");
    check_data_error([&] { unpack(trailing); },
                     {"trailing.gz", "follows", std::to_string(packed.size())});
}

BOOST_AUTO_TEST_CASE(missing_files_are_data_errors)
{
    const TextFolder folder;
    check_data_error([&] { unpack(folder / "nowhere.txt"); }, {"nowhere.txt", "No such file"});
    check_data_error([&] { unpack(folder.path().string()); }, {"directory"});
}

BOOST_AUTO_TEST_SUITE_END()
