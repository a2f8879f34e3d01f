#include "io/hdf5_file.hpp"

#include "core/checksum.hpp"
#include "core/durable_file.hpp"
#include "core/error.hpp"
#include "tests/temporary_folder.hpp"
#include "tests/thrown_message.hpp"

#include <boost/test/unit_test.hpp>
#include <cstring>
#include <numeric>
#include <sys/resource.h>
#include <unistd.h>

namespace fs = std::filesystem;
using namespace sluice;
using testing::contains;
using testing::message_of;
using testing::TemporaryFolder;

namespace {

template <class T>
std::span<const std::byte> bytes_of(const std::vector<T>& values)
{
    return std::as_bytes(std::span(values));
}

Hdf5FileSummary write_example(const fs::path& path)
{
    std::vector<float> matrix(6);
    std::iota(matrix.begin(), matrix.end(), 0.5f);
    std::vector<std::uint16_t> tokens(1000);
    std::iota(tokens.begin(), tokens.end(), std::uint16_t{0});
    Hdf5Writer file(path);
    file.write_dataset("/a/b/matrix", Hdf5Type::f32, std::vector<std::uint64_t>{2, 3},
                       bytes_of(matrix));
    file.set_attribute("/a/b/matrix", "checksum", "abc");
    file.set_attribute("/", "count", std::int64_t{-7});
    file.set_attribute("/", "seed", ~std::uint64_t{0});
    file.set_attribute("/", "third", 1.0 / 3.0);
    file.set_attribute("/", "nothing", "");
    file.write_text("/config", "x = \"ü\"\n");
    file.write_text("/empty_text", "");
    file.write_dataset("/empty", Hdf5Type::u64, std::vector<std::uint64_t>{0}, {});
    file.create_dataset("/tokens", Hdf5Type::u16, std::vector<std::uint64_t>{1000});
    file.write_elements("/tokens", 600, bytes_of(tokens).subspan(1200));
    file.write_elements("/tokens", 0, bytes_of(tokens).first(1200));
    file.link_external("/links/other", "other.h5", "/x");
    return file.commit();
}

} // namespace

BOOST_AUTO_TEST_SUITE(hdf5_file)

// On both sides of the blocks it is hashed and written in, with ordinary datasets between.
BOOST_AUTO_TEST_CASE(hashed_datasets_are_like_others_with_their_checksum)
{
    TemporaryFolder folder;
    const fs::path path = folder / "file.h5";
    const std::vector<std::uint64_t> counts{
        1, 15, 1024, 16384, 262143, 262144, 262145, 3 * 262144, 2 * 1048576, 9 * 262144 + 7};
    std::vector<float> numbers(3'000'000);
    std::iota(numbers.begin(), numbers.end(), 0.5f);
    std::vector<HashedDataset> written;
    Hdf5FileSummary summary;
    {
        Hdf5Writer file(path);
        for (const std::uint64_t count : counts) {
            const std::string name = std::to_string(count);
            file.write_dataset("/plain/" + name, Hdf5Type::f32, {&count, 1},
                               bytes_of(numbers).first(4 * count));
            written.push_back(file.write_hashed_dataset("/hashed/" + name, Hdf5Type::f32,
                                                        {&count, 1},
                                                        bytes_of(numbers).subspan(4, 4 * count)));
        }
        summary = file.commit();
    }
    BOOST_TEST(summary.checksum == checksum_of_file(path));
    BOOST_TEST(summary.size_bytes == fs::file_size(path));
    const std::string image = read_file(path);
    const Hdf5Reader file(path);
    for (std::size_t i = 0; i < counts.size(); ++i) {
        const std::string name = "/hashed/" + std::to_string(counts[i]);
        const std::size_t size = 4 * counts[i];
        std::vector<float> found(counts[i]);
        file.read_dataset(name, Hdf5Type::f32, std::as_writable_bytes(std::span(found)));
        BOOST_TEST(
            (found == std::vector(numbers.begin() + 1,
                                  numbers.begin() + 1 + static_cast<std::ptrdiff_t>(counts[i]))),
            name);
        BOOST_TEST(written[i].checksum == checksum_of(bytes_of(found)));
        BOOST_TEST(file.text_attribute(name, "checksum") == written[i].checksum);
        BOOST_TEST(file.dataset(name).file_offset.value() == written[i].file_offset);
        BOOST_TEST(std::memcmp(image.data() + written[i].file_offset, found.data(), size) == 0);
    }
}

BOOST_AUTO_TEST_CASE(what_is_written_is_read)
{
    TemporaryFolder folder;
    const fs::path path = folder / "file.h5";
    const Hdf5FileSummary summary = write_example(path);
    BOOST_TEST(summary.size_bytes == fs::file_size(path));
    BOOST_TEST(summary.checksum == checksum_of_file(path));
    BOOST_TEST(!fs::exists(path.string() + ".partial"));

    const std::string image = read_file(path);
    for (int way = 0; way < 2; ++way) {
        const Hdf5Reader file = way == 0
                                    ? Hdf5Reader(path)
                                    : Hdf5Reader(std::as_bytes(std::span(image)), path.string());
        std::vector<float> matrix(6);
        file.read_dataset("/a/b/matrix", Hdf5Type::f32, std::as_writable_bytes(std::span(matrix)));
        BOOST_TEST(matrix[5] == 5.5f);
        BOOST_TEST((file.dataset("/a/b/matrix").extents == std::vector<std::uint64_t>{2, 3}));
        BOOST_TEST(file.text_attribute("/a/b/matrix", "checksum") == "abc");
        BOOST_TEST(file.int64_attribute("/", "count") == -7);
        BOOST_TEST(file.uint64_attribute("/", "seed") == ~std::uint64_t{0});
        BOOST_TEST(std::get<double>(file.attribute("/", "third").value()) == 1.0 / 3.0);
        BOOST_TEST(file.text_attribute("/", "nothing").empty());
        BOOST_TEST(file.read_text("/config") == "x = \"ü\"\n");
        BOOST_TEST(file.read_text("/empty_text").empty());
        BOOST_TEST(file.read_vector<std::uint64_t>("/empty", 10).empty());
        BOOST_TEST(file.read_vector<std::uint16_t>("/tokens", 1000)[999] == 999);
        BOOST_TEST(file.exists("/tokens"));
        BOOST_TEST(!file.exists("/links/other")); // leads out of the file
        const std::vector<Hdf5Link> links = file.foreign_links();
        BOOST_TEST_REQUIRE(links.size() == 1u);
        BOOST_TEST(links[0].path == "/links/other");
        BOOST_TEST(links[0].file == "other.h5");
        BOOST_TEST(links[0].target == "/x");
        BOOST_TEST(!file.attribute("/", "absent").has_value());
        const std::vector<std::string> expected = {"/a/b/matrix", "/config", "/empty",
                                                   "/empty_text", "/tokens"};
        BOOST_TEST(file.datasets_below("/") == expected, boost::test_tools::per_element());
    }
}

BOOST_AUTO_TEST_CASE(offsets_point_at_the_bytes)
{
    TemporaryFolder folder;
    const fs::path path = folder / "file.h5";
    std::vector<std::uint16_t> tokens(10'000);
    std::iota(tokens.begin(), tokens.end(), std::uint16_t{0});
    const std::vector<std::uint64_t> extents = {tokens.size()};
    Hdf5Writer writer(path);
    writer.write_dataset("/odd", Hdf5Type::u16, std::vector<std::uint64_t>{3},
                         bytes_of(tokens).first(6));
    const auto offset = writer.write_dataset("/tokens", Hdf5Type::u16, extents, bytes_of(tokens));
    BOOST_REQUIRE(offset.has_value());
    writer.commit();
    BOOST_TEST(*offset % 64 == 0);
    const Hdf5DatasetInfo info = Hdf5Reader(path).dataset("/tokens");
    BOOST_TEST((info.file_offset == offset));
    BOOST_TEST(info.num_bytes == 20'000u);
    const std::string bytes = read_file(path);
    BOOST_TEST(std::memcmp(bytes.data() + *offset, tokens.data(), 20'000) == 0);
}

BOOST_AUTO_TEST_CASE(the_same_contents_give_the_same_bytes)
{
    TemporaryFolder folder;
    const auto first = write_example(folder / "1.h5");
    ::usleep(1'100'000); // HDF5 would record times in seconds
    const auto second = write_example(folder / "2.h5");
    BOOST_TEST(first.checksum == second.checksum);
}

BOOST_AUTO_TEST_CASE(uncommitted_files_leave_nothing)
{
    TemporaryFolder folder;
    const fs::path path = folder / "file.h5";
    write_file_durably(path, "old");
    {
        Hdf5Writer file(path);
        file.write_text("/config", "new");
    }
    BOOST_TEST(read_file(path) == "old");
    BOOST_TEST(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()) == 1);
}

BOOST_AUTO_TEST_CASE(every_instant_of_a_full_disk_is_reported)
{
    TemporaryFolder folder;
    const fs::path path = folder / "file.h5";
    const std::uint64_t whole = write_example(folder / "whole.h5").size_bytes;
    write_file_durably(path, "old");
    report_size_limit_as_error();
    rlimit before{};
    ::getrlimit(RLIMIT_FSIZE, &before);
    for (std::uint64_t limit = 0; limit < whole; limit += 97) {
        const rlimit small{limit, before.rlim_max};
        ::setrlimit(RLIMIT_FSIZE, &small);
        const std::string message = message_of([&] { write_example(path); });
        ::setrlimit(RLIMIT_FSIZE, &before);
        BOOST_TEST(contains(message, "File too large"), "limit " << limit << ": " << message);
        BOOST_TEST(contains(message, "file.h5"));
        BOOST_TEST(read_file(path) == "old");
        BOOST_TEST(!fs::exists(path.string() + ".partial"));
    }
}

// Space that HDF5 takes at the end and nobody writes: only closing finds out that it is not there.
BOOST_AUTO_TEST_CASE(a_file_that_cannot_reach_its_full_length_is_reported)
{
    TemporaryFolder folder;
    rlimit before{};
    ::getrlimit(RLIMIT_FSIZE, &before);
    report_size_limit_as_error();
    const rlimit small{100'000, before.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &small);
    const std::string message = message_of([&] {
        Hdf5Writer file(folder / "file.h5");
        file.create_dataset("/tokens", Hdf5Type::u16, std::vector<std::uint64_t>{1'000'000});
        file.commit();
    });
    ::setrlimit(RLIMIT_FSIZE, &before);
    BOOST_TEST(contains(message, "File too large (ftruncate)"), message);
    BOOST_TEST(fs::is_empty(folder.path()));
}

BOOST_AUTO_TEST_CASE(mistakes_are_named)
{
    TemporaryFolder folder;
    const fs::path path = folder / "file.h5";
    write_example(path);
    const Hdf5Reader file(path);
    std::vector<std::byte> into(24);
    BOOST_TEST(contains(message_of([&] { file.read_dataset("/no", Hdf5Type::f32, into); }), "/no"));
    BOOST_TEST(contains(message_of([&] { file.read_dataset("/a", Hdf5Type::f32, into); }),
                        "not a dataset"));
    BOOST_TEST(contains(message_of([&] { file.read_dataset("/a/b/matrix", Hdf5Type::f64, into); }),
                        "type f32, expected f64"));
    BOOST_TEST(contains(message_of([&] { file.read_vector<std::uint16_t>("/tokens", 999); }),
                        "at most 999"));
    BOOST_TEST(contains(message_of([&] { Hdf5Reader(folder / "absent/x.h5"); }), "No such file"));
    write_file_durably(folder / "text.h5", "This is not HDF5");
    BOOST_TEST(contains(message_of([&] { Hdf5Reader(folder / "text.h5"); }), "not a whole"));
    BOOST_TEST(contains(message_of([&] { Hdf5Writer(folder / "absent/x.h5"); }), "No such file"));
}

BOOST_AUTO_TEST_CASE(few_open_files_are_no_damage)
{
    const TemporaryFolder folder;
    write_example(folder / "whole.h5");
    rlimit before{}, none{};
    BOOST_REQUIRE(getrlimit(RLIMIT_NOFILE, &before) == 0);
    none.rlim_max = before.rlim_max;
    setrlimit(RLIMIT_NOFILE, &none);
    const std::string message = message_of([&] { Hdf5Reader(folder / "whole.h5"); });
    setrlimit(RLIMIT_NOFILE, &before);
    BOOST_TEST(contains(message, "Too many open files (open)"), message);
    BOOST_TEST(!contains(message, "damaged"), message);
}

BOOST_AUTO_TEST_CASE(truncated_files_are_refused)
{
    TemporaryFolder folder;
    const fs::path path = folder / "file.h5";
    write_example(path);
    const std::string whole = read_file(path);
    for (std::size_t size = 0; size < whole.size(); size += 61) {
        const auto bytes = std::as_bytes(std::span(whole)).first(size);
        BOOST_TEST(message_of([&] { Hdf5Reader(bytes, "cut.h5"); }) != "nothing thrown");
    }
}

/// A circle of groups looks the same while it is followed: corpus of the fuzz target `checkpoint`.
BOOST_AUTO_TEST_CASE(groups_deeper_than_any_of_ours_are_not_followed)
{
    const TemporaryFolder folder;
    for (const int depth : {64, 66}) {
        const fs::path path = folder / ("deep-" + std::to_string(depth) + ".h5");
        std::string dataset;
        for (int i = 0; i < depth; ++i)
            dataset += "/a";
        dataset += "/values";
        Hdf5Writer file(path);
        file.write_dataset(dataset, Hdf5Type::f32, std::vector<std::uint64_t>{1},
                           bytes_of(std::vector<float>{1}));
        file.commit();
        const Hdf5Reader reader(path);
        for (const auto& listed : std::initializer_list<std::function<void()>>{
                 [&] { BOOST_TEST(reader.datasets_below("/").front() == dataset); },
                 [&] { BOOST_TEST(reader.foreign_links().empty()); }}) {
            const std::string message = message_of(listed);
            BOOST_TEST(contains(message, "its groups contain one another") == (depth > 64),
                       message);
        }
    }
}

BOOST_AUTO_TEST_SUITE_END()
