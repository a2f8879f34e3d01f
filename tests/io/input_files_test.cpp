#include "io/input_files.hpp"

#include "tests/io/text_fixture.hpp"

#include <vector>

using namespace sluice;
using namespace sluice::testing;

namespace {

/// Paths below the folder, in the order found.
std::vector<std::string> names(const TextFolder& folder, const std::vector<std::string>& inputs,
                               const InputSelection& selection = {})
{
    std::vector<std::string> found;
    for (const InputFile& file : find_input_files(inputs, selection))
        found.push_back(file.path.lexically_relative(folder.path()).string());
    return found;
}

using Names = std::vector<std::string>;

} // namespace

BOOST_AUTO_TEST_SUITE(input_files)

BOOST_AUTO_TEST_CASE(folders_give_everything_below_in_one_order)
{
    const TextFolder folder;
    for (const char* name : {"b.txt", "a/z.txt", "a/deep/er.txt", "a.txt", "B.txt", ".hidden",
                             ".git/config", "a/.cache/x"})
        folder.write(name, "text");
    std::filesystem::create_directory_symlink(folder.path(), folder.path() / "loop");
    std::filesystem::create_symlink(folder.path() / "gone", folder.path() / "dangling");
    std::filesystem::create_symlink(folder.path() / "a.txt", folder.path() / "link.txt");
    BOOST_TEST(names(folder, {folder.path().string()}) ==
               (Names{"B.txt", "a.txt", "a/deep/er.txt", "a/z.txt", "b.txt", "link.txt"}));
}

BOOST_AUTO_TEST_CASE(inputs_keep_their_order)
{
    const TextFolder folder;
    for (const char* name : {"f/1", "f/2", "x", "y"})
        folder.write(name, "12345");
    const auto files = find_input_files({folder / "y", folder / "f", folder / "x"}, {});
    BOOST_REQUIRE(files.size() == 4u);
    BOOST_TEST(files[0].path.filename() == "y");
    BOOST_TEST(files[0].named);
    BOOST_TEST(!files[1].named);
    BOOST_TEST(files[3].path.filename() == "x");
    BOOST_TEST(files[2].size_bytes == 5u);
}

BOOST_AUTO_TEST_CASE(patterns_choose)
{
    const TextFolder folder;
    for (const char* name : {"a.h", "b.hpp", "c.txt", "sub/d.h", "sub/e.txt"})
        folder.write(name, "text");
    const std::string all = folder.path().string();
    BOOST_TEST(names(folder, {all}, {{"*.h"}, {}}) == (Names{"a.h", "sub/d.h"}));
    BOOST_TEST(names(folder, {all}, {{"*.h", "*.txt"}, {"c*"}}) ==
               (Names{"a.h", "sub/d.h", "sub/e.txt"}));
    BOOST_TEST(names(folder, {all}, {{}, {"sub/*"}}) == (Names{"a.h", "b.hpp", "c.txt"}));
    BOOST_TEST(names(folder, {folder / "*.h*"}) == (Names{"a.h", "b.hpp"}));
    BOOST_TEST(names(folder, {folder / "*/?.txt"}) == (Names{"sub/e.txt"}));
    // As where the shell makes names of it.
    BOOST_TEST(names(folder, {folder / "*"}) ==
               (Names{"a.h", "b.hpp", "c.txt", "sub/d.h", "sub/e.txt"}));
    BOOST_TEST(names(folder, {folder / "s*"}, {{"*.h"}, {}}) == (Names{"sub/d.h"}));
    std::filesystem::create_directory(folder.path() / "some-empty");
    BOOST_TEST(names(folder, {folder / "s*"}) == (Names{"sub/d.h", "sub/e.txt"}));
    std::filesystem::create_directory_symlink("sub", folder.path() / "sub-again");
    check_data_error([&] { find_input_files({folder / "s*"}, {}); },
                     {"sub-again", "a link to a folder"});
    check_data_error([&] { find_input_files({folder / "s*/"}, {}); },
                     {"sub-again", "a link to a folder"});
    check_data_error([&] { find_input_files({folder / "sub/.*/"}, {}); }, {"no file matches"});
    BOOST_TEST(names(folder, {folder / "sub-again"}).size() == 2u); // named
}

BOOST_AUTO_TEST_CASE(a_name_with_a_bracket_is_a_file_when_there_is_one)
{
    const TextFolder folder;
    folder.write("[1].txt", "text");
    BOOST_TEST(names(folder, {folder / "[1].txt"}) == Names{"[1].txt"});
}

BOOST_AUTO_TEST_CASE(says_what_is_not_there)
{
    const TextFolder folder;
    folder.write("f/a.txt", "text");
    std::filesystem::create_directory(folder.path() / "empty");
    const auto refused = [&](const std::string& input, const InputSelection& selection,
                             std::initializer_list<std::string> parts) {
        check_data_error([&] { find_input_files({input}, selection); }, parts);
    };
    refused(folder / "nowhere.txt", {}, {"nowhere.txt", "no such file"});
    refused(folder / "*.nothing", {}, {"*.nothing", "matches"});
    refused(folder / "empty", {}, {"empty", "no file in this folder"});
    refused(folder / "f", {{"*.h"}, {}}, {"--include"});
    refused("/dev/null", {}, {"/dev/null", "neither a file nor a folder"});
    BOOST_CHECK_EXCEPTION(find_input_files({folder / "**/a.txt"}, {}), UserError,
                          [](const UserError& error) { // for C's glob it would be one star
                              return error.problem() == "** is not understood in a pattern" &&
                                     error.remedy().find("--include") != std::string::npos;
                          });
}

BOOST_AUTO_TEST_SUITE_END()
