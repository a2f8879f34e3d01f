// Whatever happens to the files of a checkpoint is found before use and named.
#include "core/checksum.hpp"
#include "core/durable_file.hpp"
#include "core/error.hpp"
#include "core/random.hpp"
#include "io/checkpoint.hpp"
#include "io/hdf5_file.hpp"
#include "tests/io/checkpoint_fixture.hpp"

#include <array>
#include <boost/test/unit_test.hpp>
#include <fstream>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

namespace fs = std::filesystem;
using namespace sluice;
using namespace sluice::testing;

namespace {

void overwrite(const fs::path& path, const std::string& bytes)
{
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

/// The manifest with one text replaced and its own checksum made right again: a forgery.
void forge(const fs::path& folder, const std::string& from, const std::string& to)
{
    const fs::path path = folder / "manifest.json";
    std::string text = read_file(path);
    const std::size_t place = text.find(from);
    BOOST_REQUIRE_MESSAGE(place != std::string::npos, from);
    text.replace(place, from.size(), to);
    const std::string key = "\"manifest_checksum\": \"";
    const std::size_t sum = text.find(key) + key.size();
    text.replace(sum, 32, 32, '0');
    text.replace(sum, 32, checksum_of(std::as_bytes(std::span(text))));
    overwrite(path, text);
}

const std::vector<std::string> file_names = {"manifest.json", "checkpoint.h5",
                                             "stage-0000-of-0002.h5", "stage-0001-of-0002.h5"};

} // namespace

BOOST_AUTO_TEST_SUITE(checkpoint_damage)

BOOST_AUTO_TEST_CASE(every_flipped_bit_is_found)
{
    TemporaryFolder scratch;
    ExampleModel model;
    const fs::path folder = save(model, scratch.path(), 2);
    BOOST_TEST(first_problem(folder).empty());
    const RandomStream stream(3, "flips");
    std::uint64_t draw = 0;
    for (const std::string& name : file_names) {
        const std::string whole = read_file(folder / name);
        for (int flip = 0; flip < 30; ++flip) {
            std::string damaged = whole;
            const std::uint64_t bit = stream.bits(draw++) % (whole.size() * 8);
            damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
            overwrite(folder / name, damaged);
            const std::string problem = first_problem(folder);
            BOOST_TEST(contains(problem, name), name << " bit " << bit << ": " << problem);
        }
        overwrite(folder / name, whole);
    }
    BOOST_TEST(first_problem(folder).empty());
}

BOOST_AUTO_TEST_CASE(a_damaged_tensor_is_named_and_not_read)
{
    TemporaryFolder scratch;
    ExampleModel model;
    const fs::path folder = save(model, scratch.path(), 2);
    const fs::path file = folder / "stage-0001-of-0002.h5";
    std::string bytes = read_file(file);
    const auto& tensor = model.tensors.back(); // /optimizer/second_moment/lm_head/weight
    const std::string pattern(reinterpret_cast<const char*>(tensor.values.data()), 64);
    const std::size_t place = bytes.find(pattern);
    BOOST_REQUIRE(place != std::string::npos);
    bytes[place + 17] ^= 4;
    overwrite(file, bytes);
    const CheckpointReader reader(folder);
    const auto problems = reader.verify();
    BOOST_TEST(problems.size() == 1u);
    BOOST_TEST(contains(problems.front(), "stage-0001-of-0002.h5"));
    BOOST_TEST(contains(problems.front(), tensor.path));
    std::vector<float> values(tensor.values.size());
    const std::string message =
        message_of([&] { reader.read(tensor.path, view_of(values.data(), tensor.shape)); });
    BOOST_TEST(contains(message, tensor.path), message);
    BOOST_TEST(contains(message, "stage-0001-of-0002.h5"), message);
    // The other tensors of the same file are still good.
    const auto& neighbour = model.tensors[model.tensors.size() - 2];
    BOOST_CHECK_NO_THROW(reader.read(neighbour.path, view_of(values.data(), neighbour.shape)));
}

BOOST_AUTO_TEST_CASE(truncated_missing_and_replaced_files_are_named)
{
    TemporaryFolder scratch;
    ExampleModel model;
    const fs::path folder = save(model, scratch.path(), 2);
    for (const std::string& name : file_names) {
        const std::string whole = read_file(folder / name);
        for (std::size_t size = 0; size < whole.size(); size += 1 + whole.size() / 23) {
            overwrite(folder / name, whole.substr(0, size));
            BOOST_TEST(contains(first_problem(folder), name));
        }
        overwrite(folder / name, whole + "x");
        BOOST_TEST(contains(first_problem(folder), name));
        fs::remove(folder / name);
        BOOST_TEST(contains(first_problem(folder), name));
        fs::create_directory(folder / name);
        BOOST_TEST(contains(first_problem(folder), name));
        fs::remove(folder / name);
        overwrite(folder / "elsewhere", whole);
        fs::create_symlink(folder / "elsewhere", folder / name);
        BOOST_TEST(contains(first_problem(folder), name));
        BOOST_TEST(contains(first_problem(folder), "not a regular file of this folder"));
        fs::remove(folder / name);
        ::mkfifo((folder / name).c_str(), 0600);
        BOOST_TEST(contains(first_problem(folder), name));
        fs::remove(folder / name);
        overwrite(folder / name, whole);
    }
    BOOST_TEST(first_problem(folder).empty());
}

BOOST_AUTO_TEST_CASE(swapped_files_are_found)
{
    TemporaryFolder scratch;
    ExampleModel model(4);
    ExampleModel later(4, 8);
    const fs::path folder = save(model, scratch.path(), 4);
    const fs::path other = save(later, scratch.path(), 4);
    // Stages 1 and 2 have files of the same size.
    const fs::path one = folder / "stage-0001-of-0004.h5", two = folder / "stage-0002-of-0004.h5";
    BOOST_TEST(fs::file_size(one) == fs::file_size(two));
    fs::rename(one, folder / "x");
    fs::rename(two, one);
    fs::rename(folder / "x", two);
    const auto problems = CheckpointReader(folder).verify();
    BOOST_TEST(problems.size() >= 2u);
    BOOST_TEST(contains(problems.front(), "stage-0001-of-0004.h5"));
    BOOST_TEST(contains(problems.back(), "stage-0002-of-0004.h5"));
    // A file of the same name from another update.
    fs::copy_file(folder / "stage-0003-of-0004.h5", other / "stage-0003-of-0004.h5",
                  fs::copy_options::overwrite_existing);
    BOOST_TEST(contains(first_problem(other), "stage-0003-of-0004.h5"));
    fs::copy_file(folder / "checkpoint.h5", other / "checkpoint.h5",
                  fs::copy_options::overwrite_existing);
    BOOST_TEST(contains(first_problem(other), "checkpoint.h5"));
}

BOOST_AUTO_TEST_CASE(forged_manifests_are_refused)
{
    const std::string path = "\"/parameters/lm_head/weight\"";
    const std::vector<std::array<std::string, 3>> forgeries = {
        {"\"checkpoint.h5\"", "\"../checkpoint.h5\"", "outside the checkpoint's folder"},
        {"\"stage-0001-of-0002.h5\"", "\"/etc/passwd\"", "outside the checkpoint's folder"},
        {"\"stage-0001-of-0002.h5\"", "\"..\"", "outside the checkpoint's folder"},
        {"\"stage-0001-of-0002.h5\"", "\"stage-0000-of-0002.h5\"", "in place of"},
        {"\"format_version\": 1", "\"format_version\": 2", "format version 2"},
        {"\"num_stages\": 2", "\"num_stages\": 3", "in place of"},
        {"\"num_stages\": 2", "\"num_stages\": 0", "no stages"},
        {"\"num_stages\": 2", "\"num_stages\": -2", "not a possible number"},
        {"\"update\": 7", "\"update\": 1e30", "not a possible number"},
        {"\"update\": 7", "\"update\": 6", "is of update 7"},
        {"\"num_layers\": 3", "\"num_layers\": 4", "one entry for each"},
        {"\"stage\": 1", "\"stage\": 2", "does not exist"},
        {"\"offset\": ", "\"offset\": 9", "beyond the end"},
        {"\"dtype\": \"f32\"", "\"dtype\": \"f99\"", "unknown element type"},
        {path, "\"no slash\"", "not possible"},
        {path, "\"/optimizer\"", "out of order"},
        {"\"created_at\"", "\"created\"", "lacks \"created_at\""},
        {"\"arrays\": [", "\"arrays\": [1, ", "lacks \"path\""},
        {"\"arrays\": [", "\"arrays\": [[[[[[", "not whole JSON"},
        {"sluice-checkpoint", "sluice-checkpo1nt", "not the manifest"}};
    for (const auto& [from, to, expected] : forgeries) {
        TemporaryFolder scratch;
        ExampleModel model;
        const fs::path folder = scratch / "named as it likes";
        fs::rename(save(model, scratch.path(), 2), folder);
        forge(folder, from, to);
        const std::string problem = first_problem(folder);
        BOOST_TEST(contains(problem, expected), to << ": " << problem);
    }
}

BOOST_AUTO_TEST_CASE(a_name_that_is_another_updates_is_refused)
{
    TemporaryFolder scratch;
    ExampleModel model;
    const fs::path folder = save(model, scratch.path(), 2), other = scratch / "update-00000008";
    fs::rename(folder, other);
    BOOST_TEST(contains(first_problem(other), "the name says update 8"));
    BOOST_TEST(!looks_whole(other));
    fs::rename(other, scratch / "a copy");
    BOOST_TEST(looks_whole(scratch / "a copy"));
}

// Somebody who computes new checksums still leads nobody out of the folder.
BOOST_AUTO_TEST_CASE(forged_links_are_refused)
{
    const std::string weight = "/parameters/lm_head/weight";
    const std::vector<std::array<std::string, 3>> forgeries = {
        {weight, "/etc/shadow.h5", weight},
        {weight, "../stage-0001-of-0002.h5", weight},
        {weight, "stage-0000-of-0002.h5", weight}, // there, but not the tensor's file
        {weight, "stage-0001-of-0002.h5", "/optimizer/first_moment/lm_head/weight"},
        {"/more", "stage-0001-of-0002.h5", "/more"},
        {"/config", "elsewhere.h5", "/config"}};
    for (const auto& [path, file, target] : forgeries) {
        TemporaryFolder scratch;
        ExampleModel model;
        const fs::path folder = save(model, scratch.path(), 2);
        const ManifestEntry old = CheckpointReader(folder).manifest().front();
        Hdf5Writer index(folder / "checkpoint.h5");
        index.link_external(path, file, target);
        const Hdf5FileSummary written = index.commit();
        forge(folder, old.checksum, written.checksum);
        forge(folder, "\"size_bytes\": " + std::to_string(old.size_bytes),
              "\"size_bytes\": " + std::to_string(written.size_bytes));
        const std::string problem = first_problem(folder);
        BOOST_TEST(contains(problem, "the link " + path + " leads to " + file + target), problem);
        BOOST_TEST(
            contains(message_of([&] { CheckpointReader(folder).progress(); }), "the link " + path));
    }
}

BOOST_AUTO_TEST_CASE(extreme_shapes_are_refused)
{
    for (const char* shape : {"4294967296, 4294967296", "18446744073709551615", "9999999", "-1, 4",
                              "1,1,1,1,1,1", "0.5", "\"a\""}) {
        TemporaryFolder scratch;
        ExampleModel model;
        const fs::path folder = save(model, scratch.path(), 1);
        forge(folder, "\"shape\": [", "\"shape\": [" + std::string(shape) + "],\"was\": [");
        const std::string problem = first_problem(folder);
        BOOST_TEST(contains(problem, "manifest.json"), shape << ": " << problem);
    }
}

BOOST_AUTO_TEST_CASE(folders_that_are_no_checkpoints)
{
    TemporaryFolder scratch;
    BOOST_TEST(contains(first_problem(scratch.path() / "absent"), "no such checkpoint"));
    BOOST_TEST(contains(first_problem(scratch.path()), "not a finished checkpoint"));
    overwrite(scratch.path() / "manifest.json", std::string(100'000, '['));
    BOOST_TEST(contains(first_problem(scratch.path()), "not whole JSON"));
    overwrite(scratch.path() / "manifest.json", "[]");
    BOOST_TEST(contains(first_problem(scratch.path()), "lacks \"format\""));
    fs::rename(scratch.path() / "manifest.json", scratch.path() / "elsewhere.json");
    fs::create_symlink("elsewhere.json", scratch.path() / "manifest.json");
    BOOST_TEST(contains(first_problem(scratch.path()), "not a regular file of this folder"));
    fs::remove(scratch.path() / "manifest.json");
    ::mkfifo((scratch.path() / "manifest.json").c_str(), 0600); // would be waited for
    BOOST_TEST(contains(first_problem(scratch.path()), "not a regular file of this folder"));
}

// The limit on file sizes stands for a disk that fills up at every possible instant.
BOOST_AUTO_TEST_CASE(a_full_disk_leaves_the_old_checkpoint_whole)
{
    TemporaryFolder scratch;
    ExampleModel old_model, new_model(3, 8);
    const fs::path old_folder = save(old_model, scratch.path(), 2);
    std::uint64_t largest = 0;
    for (const std::string& name : file_names)
        largest = std::max<std::uint64_t>(largest, fs::file_size(old_folder / name));
    report_size_limit_as_error();
    rlimit before{};
    ::getrlimit(RLIMIT_FSIZE, &before);
    for (std::uint64_t limit = 0; limit < largest; limit += largest / 97) {
        const rlimit small{limit, before.rlim_max};
        ::setrlimit(RLIMIT_FSIZE, &small);
        const std::string message = message_of([&] { save(new_model, scratch.path(), 2); });
        ::setrlimit(RLIMIT_FSIZE, &before);
        BOOST_TEST(contains(message, "File too large"), limit << ": " << message);
        BOOST_TEST(contains(message, scratch.path().string()), message);
        BOOST_TEST(list_checkpoints(scratch.path()).size() == 1u);
        BOOST_TEST(first_problem(old_folder).empty());
    }
    const fs::path new_folder = save(new_model, scratch.path(), 2);
    BOOST_TEST(first_problem(new_folder).empty());
}

BOOST_AUTO_TEST_CASE(a_folder_that_cannot_be_written_is_named)
{
    TemporaryFolder scratch;
    fs::permissions(scratch.path(), fs::perms::owner_read | fs::perms::owner_exec |
                                        fs::perms::others_read | fs::perms::others_exec);
    const bool root = ::geteuid() == 0;
    if (root) // for whom permissions do not count
        BOOST_REQUIRE(::seteuid(65534) == 0);
    ExampleModel model;
    const std::string message = message_of([&] { save(model, scratch.path(), 1); });
    if (root)
        BOOST_REQUIRE(::seteuid(0) == 0);
    fs::permissions(scratch.path(), fs::perms::owner_all);
    BOOST_TEST(contains(message, "Permission denied"), message);
    BOOST_TEST(contains(message, partial_folder_name(7)), message);
    BOOST_TEST(contains(message, "check the permissions"), message);
}

BOOST_AUTO_TEST_SUITE_END()
