#include "core/durable_file.hpp"

#include "tests/temporary_folder.hpp"
#include "tests/thrown_message.hpp"

#include <boost/test/unit_test.hpp>
#include <string>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include <utility>

namespace fs = std::filesystem;
using namespace sluice;
using testing::contains;
using testing::message_of;
using testing::TemporaryFolder;

BOOST_AUTO_TEST_SUITE(durable_file)

BOOST_AUTO_TEST_CASE(contents_are_replaced_whole)
{
    const TemporaryFolder folder;
    const fs::path path = folder / "status.json";
    const std::string binary("a\0b\n", 4);
    for (const std::string& text : {std::string("a long first text"), binary, std::string()}) {
        write_file_durably(path, text);
        BOOST_TEST(read_file(path) == text);
    }
    BOOST_TEST(folder.num_entries() == 1);
}

BOOST_AUTO_TEST_CASE(a_failed_write_leaves_the_old_file)
{
    const TemporaryFolder folder;
    const fs::path path = folder / "file";
    write_file_durably(path, "old");
    rlimit before{};
    ::getrlimit(RLIMIT_FSIZE, &before);
    const rlimit small{1000, before.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &small);
    const std::string message =
        message_of([&] { write_file_durably(path, std::string(2000, 'x')); });
    ::setrlimit(RLIMIT_FSIZE, &before);
    BOOST_TEST(contains(message, path.string() + ": File too large (write)"), message);
    BOOST_TEST(contains(message, "ulimit -f"), message);
    BOOST_TEST(read_file(path) == "old");
    BOOST_TEST(folder.num_entries() == 1);
}

BOOST_AUTO_TEST_CASE(files_that_cannot_be_are_named)
{
    const TemporaryFolder folder;
    BOOST_TEST(contains(message_of([&] { write_file_durably(folder / "absent/x", "a"); }),
                        (folder / "absent/x").string()));
    BOOST_TEST(contains(message_of([&] { read_file(folder / "absent"); }),
                        "No such file or directory (open)"));
    BOOST_TEST(contains(message_of([&] { read_file(folder.path()); }), "Is a directory"));
    write_file_durably(folder / "long", "12345");
    BOOST_TEST(contains(message_of([&] { read_file(folder / "long", 4); }), "more than 4"));
    // Not of its temporary name, which nobody has asked for.
    BOOST_TEST(contains(message_of([&] { write_file_durably(folder / "absent" / "x", "a"); }),
                        (folder / "absent" / "x").string() + ": No such file"));
    BOOST_TEST(contains(message_of([&] { write_file_durably(folder / "long" / "x", "a"); }),
                        "Not a directory"));
    BOOST_TEST(folder.num_entries() == 1);
}

BOOST_AUTO_TEST_CASE(only_files_are_replaced)
{
    const TemporaryFolder folder;
    fs::create_directory(folder / "a folder");
    BOOST_TEST_REQUIRE(::mkfifo((folder / "pipe").c_str(), 0600) == 0);
    fs::create_symlink("pipe", folder / "to the pipe");
    fs::create_symlink("in a circle", folder / "in a circle");
    const std::size_t entries = folder.num_entries();
    for (const auto& [name, problem] :
         {std::pair{"a folder", "this is a folder"}, std::pair{"pipe", "this is a pipe"},
          std::pair{"to the pipe", "this is a pipe"}, std::pair{"in a circle", "in a circle"}}) {
        const std::string message = message_of([&] { write_file_durably(folder / name, "a"); });
        BOOST_TEST(contains(message, (folder / name).string()), message);
        BOOST_TEST(contains(message, problem), message);
        BOOST_TEST(contains(message, "what to do"), message);
    }
    BOOST_TEST(fs::is_fifo(folder / "pipe"));
    BOOST_TEST(folder.num_entries() == entries);
    BOOST_TEST(contains(message_of([] { replaceable_file("/dev/null"); }), "this is a device"));
}

BOOST_AUTO_TEST_CASE(links_stay_and_what_they_lead_to_is_written)
{
    const TemporaryFolder folder;
    fs::create_directory(folder / "far");
    fs::create_symlink("far/there", folder / "near");
    fs::create_symlink(folder / "near", folder / "again");
    for (const std::string& text : {std::string("made"), std::string("replaced")}) {
        write_file_durably(folder / "again", text);
        BOOST_TEST(fs::is_symlink(folder / "again"));
        BOOST_TEST(fs::is_symlink(folder / "near"));
        BOOST_TEST(fs::is_regular_file(fs::symlink_status(folder / "far" / "there")));
        BOOST_TEST(read_file(folder / "far" / "there") == text);
    }
    BOOST_TEST(folder.num_entries() == 3);
}

BOOST_AUTO_TEST_CASE(folders_are_renamed_whole)
{
    const TemporaryFolder folder;
    fs::create_directory(folder / "from");
    write_file_durably(folder / "from" / "x", "1");
    rename_durably(folder / "from", folder / "to");
    BOOST_TEST(read_file(folder / "to" / "x") == "1");
    BOOST_TEST(contains(message_of([&] { rename_durably(folder / "from", folder / "elsewhere"); }),
                        "No such file or directory (rename)"));
    // A checkpoint in a run folder that is reached through a link.
    fs::create_directory_symlink(".", folder / "link");
    rename_durably(folder / "link" / "to", folder / "link" / "again");
    BOOST_TEST(read_file(folder / "again" / "x") == "1");
}

BOOST_AUTO_TEST_CASE(errors_of_the_standard_library_come_in_words)
{
    const TemporaryFolder folder;
    fs::create_symlink("circle", folder / "circle");
    const auto message = [](const auto& work) {
        return message_of([&] { with_file_errors_in_words(work); });
    };
    const std::string circle = message([&] { return fs::exists(folder / "circle" / "x"); });
    BOOST_TEST(contains(circle, (folder / "circle" / "x").string() + ": Too many levels"), circle);
    BOOST_TEST(contains(circle, "what to do: its symbolic links lead in a circle"), circle);
    const std::string two = message([&] { fs::rename(folder / "circle", folder / "no" / "x"); });
    BOOST_TEST(contains(two, "circle and " + (folder / "no" / "x").string()), two);
    const std::string long_name = message([&] { return fs::exists(std::string(300, 'x')); });
    BOOST_TEST(contains(long_name, "what to do: choose a shorter name"), long_name);
    const std::string other = message([&] {
        fs::remove(folder.path() / "."); // not a reason that has a remedy of its own
    });
    BOOST_TEST(contains(other, "what to do"), other);
    BOOST_TEST(with_file_errors_in_words([] { return 7; }) == 7);
}

BOOST_AUTO_TEST_CASE(missing_space_is_told_in_numbers)
{
    const TemporaryFolder folder;
    require_free_space(folder.path(), 1);
    require_free_space(folder / "absent", 1); // cannot say: the write itself will
    const std::string message =
        message_of([&] { require_free_space(folder.path(), std::uint64_t{1} << 60); });
    BOOST_TEST(contains(message, "1099511627777 MiB needed"), message);
    BOOST_TEST(contains(message, "MiB free"), message);
}

BOOST_AUTO_TEST_SUITE_END()
