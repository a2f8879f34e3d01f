// A checkpoint in the way of another one of its update, where the file system cannot exchange
// names.
#include "core/durable_file.hpp"
#include "tests/io/checkpoint_fixture.hpp"

#include <boost/test/unit_test.hpp>
#include <cerrno>
#include <cstdio>
#include <fcntl.h>
#include <sys/syscall.h>
#include <unistd.h>

using namespace sluice;
using namespace sluice::testing;
namespace fs = std::filesystem;

namespace {

bool exchanges_names = true;
int renames_until_failure = -1; ///< so many more succeed, then one fails; -1: all do

} // namespace

/// In place of the C library's, for this whole program.
extern "C" int renameat2(int from_folder, const char* from, int to_folder, const char* to,
                         unsigned int flags) noexcept
{
    if (exchanges_names)
        return static_cast<int>(::syscall(SYS_renameat2, from_folder, from, to_folder, to, flags));
    errno = EINVAL;
    return -1;
}

extern "C" int rename(const char* from, const char* to) noexcept
{
    if (renames_until_failure >= 0 && renames_until_failure-- == 0) {
        errno = EIO;
        return -1;
    }
    return static_cast<int>(::syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0));
}

namespace {

/// An older checkpoint of update 7 is there, and the new one's files are.
struct Replacing {
    TemporaryFolder scratch;
    ExampleModel older{2, 7}, newer{3, 7};
    fs::path final_folder = save(older, scratch.path(), 1);
    fs::path partial = scratch.path() / partial_folder_name(7);
    std::string old_digest = CheckpointReader(final_folder).parameters_digest();

    Replacing() { exchanges_names = false; }
    ~Replacing()
    {
        exchanges_names = true;
        renames_until_failure = -1;
    }
    std::string digest() const { return CheckpointReader(final_folder).parameters_digest(); }
};

} // namespace

BOOST_AUTO_TEST_SUITE(checkpoint_replacing)

BOOST_AUTO_TEST_CASE(the_new_one_takes_the_name)
{
    Replacing files;
    save(files.newer, files.scratch.path(), 1);
    BOOST_TEST(files.digest() != files.old_digest);
    BOOST_TEST(first_problem(files.final_folder).empty());
    BOOST_TEST(!fs::exists(replaced_folder(files.final_folder)));
    BOOST_TEST(!fs::exists(files.partial));
}

BOOST_AUTO_TEST_CASE(the_old_one_keeps_it_where_the_new_one_cannot_have_it)
{
    Replacing files;
    const ManifestEntry entry = write_stage_file(files.partial, 0, 1, files.newer.contents(0, 1));
    // Index, manifest, and the old one out of the way.
    renames_until_failure = 3;
    BOOST_TEST(
        contains(message_of([&] { finish_checkpoint(files.partial, files.final_folder, {entry}); }),
                 "Input/output error (rename)"));
    BOOST_TEST(files.digest() == files.old_digest);
    BOOST_TEST(first_problem(files.final_folder).empty());
}

BOOST_AUTO_TEST_CASE(a_save_that_dies_in_between_loses_none)
{
    Replacing files;
    fs::rename(files.final_folder, replaced_folder(files.final_folder));
    BOOST_TEST(prune_checkpoints(files.scratch.path(), {.keep_last = 1}).empty());
    const auto put_back = put_back_replaced(files.scratch.path());
    BOOST_TEST((put_back == std::vector{files.final_folder}));
    BOOST_TEST(files.digest() == files.old_digest);
    // Where the new one has its name, what was replaced goes.
    fs::create_directories(replaced_folder(files.final_folder) / "inside");
    BOOST_TEST(put_back_replaced(files.scratch.path()).empty());
    BOOST_TEST(prune_checkpoints(files.scratch.path(), {.keep_last = 1}).size() == 1U);
    BOOST_TEST(files.digest() == files.old_digest);
}

BOOST_AUTO_TEST_SUITE_END()
