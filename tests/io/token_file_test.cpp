#include "io/token_file.hpp"

#include "core/checksum.hpp"
#include "io/hdf5_file.hpp"
#include "tests/io/text_fixture.hpp"
#include "tests/io/token_file_fixture.hpp"
#include "tests/source_folder.hpp"

#include <algorithm>
#include <array>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <sys/inotify.h>

using namespace sluice;
using namespace sluice::testing;

namespace {

/// What a file of 5 tokens and 1 document is made of, to be spoilt piece by piece.
struct Parts {
    std::vector<std::uint16_t> tokens{1, 2, 3, 4, 9};
    std::vector<std::uint64_t> offsets{0, 5};
    std::string format = "sluice-tokens";
    std::int64_t version = 1;
    std::uint64_t vocab_size = 10, end_token = 9, num_tokens = 5, num_documents = 1;
    Hdf5Type type = Hdf5Type::u16;
    std::string checksum;
    std::string without; ///< an attribute or dataset to leave out
};

std::string write_parts(const TextFolder& folder, const Parts& parts)
{
    const std::string path = folder / "parts.h5";
    Hdf5Writer file(path);
    const std::uint64_t extents[] = {parts.tokens.size() * 2 / size_of(parts.type),
                                     parts.offsets.size()};
    if (parts.without != "/tokens")
        file.write_dataset("/tokens", parts.type, std::span(extents).first(1),
                           std::as_bytes(std::span(parts.tokens)));
    if (parts.without != "/document_offsets")
        file.write_dataset("/document_offsets", Hdf5Type::u64, std::span(extents).last(1),
                           std::as_bytes(std::span(parts.offsets)));
    const std::pair<const char*, Hdf5Attribute> attributes[] = {
        {"format", parts.format},           {"format_version", parts.version},
        {"tokenizer", std::string("t")},    {"vocab_size", parts.vocab_size},
        {"end_token", parts.end_token},     {"num_documents", parts.num_documents},
        {"num_tokens", parts.num_tokens},   {"checksum", parts.checksum},
        {"inputs_digest", std::string("")}, {"split", std::string("all")},
        {"created_by", std::string("x")}};
    for (const auto& [name, value] : attributes)
        if (parts.without != name)
            file.set_attribute("/", name, value);
    file.commit();
    return path;
}

template <class Spoil>
void refused(Spoil&& spoil, std::initializer_list<std::string> parts)
{
    const TextFolder folder;
    Parts made;
    spoil(made);
    const std::string path = write_parts(folder, made);
    check_data_error([&] { TokenFile{path}; }, {"parts.h5"});
    check_data_error([&] { TokenFile{path}; }, parts);
}

} // namespace

BOOST_AUTO_TEST_SUITE(token_file)

BOOST_AUTO_TEST_CASE(reads_any_range)
{
    const TextFolder folder;
    for (const std::uint32_t vocab_size : {257u, 70'000u}) {
        write_counting_file(folder / "t.h5", 1000, vocab_size);
        const TokenFile file(folder / "t.h5");
        BOOST_TEST(file.info().num_tokens == 1000u);
        BOOST_TEST(file.path() == folder.path() / "t.h5");
        for (const auto& [begin, count] : {std::pair{0u, 1000u}, std::pair{3u, 37u},
                                           std::pair{999u, 1u}, std::pair{1000u, 0u}}) {
            std::vector<std::int32_t> ids(count);
            file.read(begin, ids);
            for (std::uint32_t i = 0; i < count; ++i) {
                const std::uint32_t expected =
                    begin + i == 999 ? vocab_size - 1 : (begin + i) % (vocab_size - 1);
                BOOST_REQUIRE(ids[i] == static_cast<std::int32_t>(expected));
            }
        }
        std::vector<std::int32_t> beyond(2);
        BOOST_CHECK_THROW(file.read(999, beyond), InvariantError);
    }
}

// As when somebody copies another file over it: not SIGBUS.
BOOST_AUTO_TEST_CASE(a_file_that_becomes_shorter_while_it_is_read)
{
    const TextFolder folder;
    const std::string path = folder / "t.h5";
    write_counting_file(path, 100'000, 257);
    const TokenFile file(path);
    std::vector<std::int32_t> ids(100);
    file.read(99'900, ids);
    std::filesystem::resize_file(path, 100'000);
    check_data_error([&] { file.read(99'900, ids); }, {"t.h5", "shorter since it was opened"});
    file.read(0, ids);
    BOOST_TEST(ids[99] == 99);
}

BOOST_AUTO_TEST_CASE(a_file_that_is_written_to_while_it_is_open)
{
    const TextFolder folder;
    const std::filesystem::path path = write_parts(folder, {});
    const TokenFile file(path);
    BOOST_TEST(!file.was_written_to());
    // Another one under its name is not what is read here.
    const std::filesystem::path aside = path.string() + ".aside";
    std::filesystem::copy_file(path, aside);
    std::filesystem::rename(aside, path);
    BOOST_TEST(!file.was_written_to());
    // Far from now: time stamps of two moments may be the same.
    const auto hour = std::chrono::hours(1);
    std::filesystem::last_write_time(path, std::filesystem::last_write_time(path) - hour);
    const TokenFile other(path);
    std::fstream(path, std::ios::in | std::ios::out) << '\x89';
    BOOST_TEST(other.was_written_to());
}

BOOST_AUTO_TEST_CASE(an_id_outside_the_vocabulary_names_its_place)
{
    const TextFolder folder;
    Parts parts;
    parts.tokens[3] = 10;
    const std::string path = write_parts(folder, parts);
    const TokenFile file(path); // opening reads no tokens
    std::array<std::int32_t, 5> ids{};
    file.read(0, std::span(ids).first(3));
    check_data_error([&] { file.read(1, std::span(ids).first(4)); },
                     {"parts.h5", "token 3", "id 10", "vocabulary of 10"});
}

BOOST_AUTO_TEST_CASE(verify_finds_a_changed_byte)
{
    const TextFolder folder;
    const std::string path = folder / "t.h5";
    write_counting_file(path, 1000, 257);
    const std::uint64_t offset = *Hdf5Reader(path).dataset("/tokens").file_offset;
    TokenFile(path).verify();
    std::string bytes = read_whole(path);
    bytes[offset + 2 * 500] ^= 1;
    folder.write("t.h5", bytes);
    check_data_error([&] { TokenFile(path).verify(); }, {"t.h5", "checksum"});
}

BOOST_AUTO_TEST_CASE(verify_checks_the_documents)
{
    const TextFolder folder;
    const auto verify_refused = [&](std::vector<std::uint64_t> offsets, const std::string& part) {
        Parts parts;
        parts.tokens = {1, 9, 3, 4, 9};
        parts.offsets = std::move(offsets);
        parts.num_documents = parts.offsets.size() - 1;
        parts.checksum = checksum_of(std::as_bytes(std::span(parts.tokens)));
        const std::string path = write_parts(folder, parts);
        if (part.empty())
            TokenFile(path).verify();
        else
            check_data_error([&] { TokenFile(path).verify(); }, {"parts.h5", part});
    };
    verify_refused({0, 2, 5}, "");
    verify_refused({0, 3, 5}, "end token");
    verify_refused({0, 2, 2, 5}, "do not increase");
    verify_refused({0, 7, 5}, "do not increase");
    verify_refused({1, 5}, "do not cover");
    verify_refused({0, 2}, "do not cover");
}

BOOST_AUTO_TEST_CASE(refuses_files_that_are_something_else)
{
    const TextFolder folder;
    check_data_error([&] { TokenFile{folder / "nowhere.h5"}; }, {"nowhere.h5", "No such file"});
    for (const auto& [name, bytes] :
         {std::pair<const char*, std::string>{"text.h5", some_text(5000, 1)},
          {"empty.h5", ""},
          {"zeros.h5", std::string(5000, '\0')}}) {
        const std::string path = folder.write(name, bytes);
        check_data_error([&] { TokenFile{path}; }, {name});
    }
    check_data_error([&] { TokenFile{folder.path()}; }, {});
    refused([](Parts& p) { p.format = "sluice-checkpoint"; },
            {"not a token file", "sluice-checkpoint"});
    refused([](Parts& p) { p.without = "format"; }, {"not a token file"});
    refused([](Parts& p) { p.version = 2; }, {"version 2", "version 1"});
}

BOOST_AUTO_TEST_CASE(refuses_files_whose_parts_do_not_fit)
{
    for (const char* name : {"/tokens", "/document_offsets", "tokenizer", "vocab_size", "end_token",
                             "num_documents", "num_tokens", "checksum"})
        refused([&](Parts& p) { p.without = name; }, {name});
    refused([](Parts& p) { p.num_tokens = 6; }, {"/tokens", "6"});
    refused([](Parts& p) { p.num_documents = 2; }, {"/document_offsets", "3"});
    refused([](Parts& p) { p.num_documents = ~std::uint64_t{0}; }, {"/document_offsets"});
    refused(
        [](Parts& p) { // one more offset than documents is none at all
            p.num_documents = ~std::uint64_t{0};
            p.offsets.clear();
        },
        {"/document_offsets"});
    refused([](Parts& p) { p.end_token = 10; }, {"end_token 10"});
    refused([](Parts& p) { p.vocab_size = 0; }, {"vocab_size 0"});
    refused([](Parts& p) { p.vocab_size = std::uint64_t{1} << 40; }, {"vocab_size"});
    refused(
        [](Parts& p) {
            p.tokens.push_back(0);
            p.type = Hdf5Type::f32;
            p.num_tokens = 3;
        },
        {"f32"});
    refused(
        [](Parts& p) {
            p.tokens.clear();
            p.num_tokens = 0;
        },
        {"no tokens"});
}

BOOST_AUTO_TEST_CASE(a_file_cut_anywhere_is_refused)
{
    const TextFolder folder;
    write_counting_file(folder / "t.h5", 20'000, 257);
    const std::string bytes = read_whole(folder / "t.h5");
    for (std::size_t size = 1; size < bytes.size(); size += 997) {
        const std::string path = folder.write("cut.h5", bytes.substr(0, size));
        check_data_error([&] { TokenFile{path}; }, {"cut.h5"});
    }
    const std::string path = folder.write("cut.h5", bytes.substr(0, bytes.size() - 1));
    check_data_error([&] { TokenFile{path}; }, {"cut.h5"});
}

// Links and datasets that point at another file: it is not even opened.
BOOST_AUTO_TEST_CASE(no_other_file_is_opened)
{
    const TextFolder folder;
    write_counting_file(folder / "secret.h5", 3, 257);
    const int watch = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    BOOST_REQUIRE(::inotify_add_watch(watch, (folder / "secret.h5").c_str(), IN_OPEN) >= 0);
    std::array<char, 4096> events;
    for (const char* name : {"virtual_dataset", "external_link"}) {
        // A seed of the fuzzer: one byte, then the file, whose other file is "secret.h5".
        const std::string seed =
            read_whole(source_path("tests/fuzz/corpus/token_file/" + std::string(name)));
        const std::string path = folder.write(name, std::string_view(seed).substr(1));
        check_data_error([&] { TokenFile{path}; }, {name, "/tokens"});
        BOOST_TEST(::read(watch, events.data(), events.size()) == -1, name);
    }
    std::ifstream(folder / "secret.h5").peek(); // the watch sees what is opened
    BOOST_TEST(::read(watch, events.data(), events.size()) > 0);
    ::close(watch);
}

BOOST_AUTO_TEST_SUITE_END()
