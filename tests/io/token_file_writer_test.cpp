#include "io/token_file_writer.hpp"

#include "io/hdf5_file.hpp"
#include "tests/io/text_fixture.hpp"
#include "tests/io/token_file_fixture.hpp"

#include <filesystem>
#include <string>
#include <sys/stat.h>
#include <unistd.h>

using namespace sluice;
using namespace sluice::testing;

namespace {
const TokenFileOrigin origin{"bytes", 257, 256, "all", "test"};
}

BOOST_AUTO_TEST_SUITE(token_file_writer)

BOOST_AUTO_TEST_CASE(puts_the_end_token_behind_every_document)
{
    const TextFolder folder;
    TokenFileWriter writer(folder / "t.h5", origin);
    const std::uint32_t text[] = {1, 2, 3};
    writer.append(std::span(text).first(2)); // one document in two pieces
    writer.append(std::span(text).last(1));
    writer.end_document();
    writer.end_document(); // an empty one
    writer.append(std::span(text).first(1));
    writer.end_document();
    BOOST_TEST(writer.num_documents() == 3u);
    BOOST_TEST(writer.num_tokens() == 7u);
    const std::uint64_t size = writer.finish("d");
    BOOST_TEST(size == std::filesystem::file_size(folder / "t.h5"));
    const Hdf5Reader file(folder / "t.h5");
    BOOST_TEST(file.read_vector<std::uint16_t>("/tokens", 100) ==
                   (std::vector<std::uint16_t>{1, 2, 3, 256, 256, 1, 256}),
               boost::test_tools::per_element());
    BOOST_TEST(file.read_vector<std::uint64_t>("/document_offsets", 100) ==
                   (std::vector<std::uint64_t>{0, 4, 5, 7}),
               boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(says_where_the_tokens_come_from)
{
    const TextFolder folder;
    write_token_file(folder / "t.h5", 300, {{1, 2}, {3}});
    const Hdf5Reader file(folder / "t.h5");
    BOOST_TEST(file.text_attribute("/", "format") == "sluice-tokens");
    BOOST_TEST(file.int64_attribute("/", "format_version") == 1);
    BOOST_TEST(file.text_attribute("/", "tokenizer") == "bytes");
    BOOST_TEST(file.uint64_attribute("/", "vocab_size") == 300u);
    BOOST_TEST(file.uint64_attribute("/", "end_token") == 299u);
    BOOST_TEST(file.uint64_attribute("/", "num_documents") == 2u);
    BOOST_TEST(file.uint64_attribute("/", "num_tokens") == 5u);
    BOOST_TEST(file.text_attribute("/", "inputs_digest") == "digest of the text");
    BOOST_TEST(file.text_attribute("/", "split") == "all");
    BOOST_TEST(file.text_attribute("/", "created_by") == "test");
    BOOST_TEST(file.text_attribute("/", "checksum").size() == 32u);
}

BOOST_AUTO_TEST_CASE(ids_are_as_wide_as_the_vocabulary_needs)
{
    const TextFolder folder;
    for (const auto& [vocab_size, dtype] :
         {std::pair{65536u, DType::u16}, std::pair{65537u, DType::u32}}) {
        write_token_file(folder / "t.h5", vocab_size, {{vocab_size - 2, 7}});
        const TokenFile file(folder / "t.h5");
        BOOST_TEST((file.info().dtype == dtype));
        std::int32_t ids[3];
        file.read(0, ids);
        BOOST_TEST(ids[0] == static_cast<std::int32_t>(vocab_size) - 2);
        BOOST_TEST(ids[2] == static_cast<std::int32_t>(vocab_size) - 1);
        file.verify();
    }
}

BOOST_AUTO_TEST_CASE(more_tokens_and_documents_than_any_buffer)
{
    const TextFolder folder;
    std::vector<std::vector<std::uint32_t>> documents(200'000, {1, 2, 3, 4, 5});
    documents.push_back(std::vector<std::uint32_t>(3'000'000, 9));
    write_token_file(folder / "t.h5", 257, documents);
    const TokenFile file(folder / "t.h5");
    BOOST_TEST(file.info().num_documents == documents.size());
    BOOST_TEST(file.info().num_tokens == 200'000u * 6 + 3'000'001);
    file.verify();
}

BOOST_AUTO_TEST_CASE(nothing_is_left_behind_without_finish)
{
    const TextFolder folder;
    {
        TokenFileWriter writer(folder / "t.h5", origin);
        const std::vector<std::uint32_t> text(3'000'000, 5);
        writer.append(text);
        writer.end_document();
        BOOST_TEST(folder.num_entries() == 1u); // the lock
    }
    BOOST_TEST(folder.num_entries() == 0u);
    write_counting_file(folder / "t.h5", 10, 257);
    BOOST_TEST(folder.num_entries() == 1u);
}

BOOST_AUTO_TEST_CASE(one_writer_at_a_time)
{
    const TextFolder folder;
    const std::filesystem::path path = folder / "t.h5";
    std::filesystem::create_symlink("t.h5", folder / "link.h5");
    folder.write("t.h5.lock", "process 1 on a machine where it was killed");
    {
        TokenFileWriter writer(path, origin);
        for (const std::filesystem::path& same : {path, std::filesystem::path(folder / "link.h5")})
            check_refused(ExitCode::usage, [&] { TokenFileWriter(same, origin); },
                          {"t.h5",
                           "another program (process " + std::to_string(::getpid()) + " on ",
                           "is writing this file"});
        TokenFileWriter(folder / "u.h5", origin);
        writer.end_document();
        writer.finish("d");
    }
    TokenFile(path).verify();
    BOOST_TEST(folder.num_entries() == 2u); // and no lock
    write_counting_file(path, 10, 257);
}

BOOST_AUTO_TEST_CASE(an_old_file_stays_until_the_new_one_is_whole)
{
    const TextFolder folder;
    const std::string path = folder.write("t.h5", "old");
    TokenFileWriter writer(path, origin);
    writer.end_document();
    BOOST_TEST(read_whole(path) == "old");
    writer.finish("d");
    BOOST_TEST(TokenFile(path).info().num_tokens == 1u);
}

BOOST_AUTO_TEST_CASE(links_are_followed_and_pipes_are_refused)
{
    const TextFolder folder;
    const std::filesystem::path link = folder / "link.h5", pipe = folder / "pipe";
    std::filesystem::create_symlink("t.h5", link);
    write_counting_file(link, 10, 257);
    BOOST_TEST(std::filesystem::is_symlink(link));
    TokenFile(folder / "t.h5").verify();
    BOOST_TEST_REQUIRE(::mkfifo(pipe.c_str(), 0600) == 0);
    check_data_error([&] { TokenFileWriter(pipe, origin); }, {"pipe", "FIFO"});
    check_data_error([&] { const Hdf5Writer file(pipe); }, {"pipe", "FIFO"});
    BOOST_TEST(std::filesystem::is_fifo(pipe));
    BOOST_TEST(folder.num_entries() == 3u);
}

BOOST_AUTO_TEST_CASE(refuses_broken_promises_and_bad_folders)
{
    const TextFolder folder;
    TokenFileWriter writer(folder / "t.h5", origin);
    const std::uint32_t outside[] = {257};
    BOOST_CHECK_THROW(writer.append(outside), InvariantError);
    BOOST_CHECK_THROW(TokenFileWriter(folder / "e.h5", origin).finish("d"), InvariantError);
    check_data_error([&] { TokenFileWriter(folder / "nowhere/t.h5", origin); }, {"nowhere"});
}

BOOST_AUTO_TEST_SUITE_END()
