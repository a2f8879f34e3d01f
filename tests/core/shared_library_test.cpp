#include "core/shared_library.hpp"

#include <boost/test/unit_test.hpp>

using namespace sluice;

BOOST_AUTO_TEST_SUITE(shared_library)

BOOST_AUTO_TEST_CASE(a_function_is_found_by_its_name)
{
    const SharedLibrary math("libm.so.6", "/nowhere", "", "");
    double (*cosine)(double) = nullptr;
    math.find(cosine, "cos");
    BOOST_CHECK_EQUAL(cosine(0.0), 1.0);
    BOOST_CHECK_THROW(math.find(cosine, "no_such_function"), InvariantError);
}

BOOST_AUTO_TEST_CASE(a_missing_library_is_named_with_what_to_do)
{
    const auto named = [](const UserError& error) {
        return error.code() == ExitCode::usage && error.where() == "there" &&
               error.remedy() == "install it" &&
               error.problem().find("libnone.so.7") != std::string::npos;
    };
    BOOST_CHECK_EXCEPTION(SharedLibrary("libnone.so.7", "/nowhere", "there", "install it"),
                          UserError, named);
}

BOOST_AUTO_TEST_SUITE_END()
