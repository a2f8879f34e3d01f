# The commit that a program is built from, looked up whenever it is built: run as a script this file
# writes OUT anew where the answer is another one than before.
if(CMAKE_SCRIPT_MODE_FILE)
    cmake_minimum_required(VERSION 3.25)
    get_filename_component(above ${SOURCE} DIRECTORY) # a repository there is somebody else's
    execute_process(COMMAND ${CMAKE_COMMAND} -E env GIT_CEILING_DIRECTORIES=${above}
                            git -C ${SOURCE} describe --always --exclude * --abbrev=12 --dirty
                    OUTPUT_VARIABLE revision ERROR_QUIET OUTPUT_STRIP_TRAILING_WHITESPACE)
    string(REPLACE "-dirty" ", changed" revision "${revision}")
    file(CONFIGURE OUTPUT ${OUT} @ONLY CONTENT
"namespace sluice {
extern const char* const source_revision;
const char* const source_revision = \"@revision@\";
} // namespace sluice
")
    return()
endif()

set(revision_source ${PROJECT_BINARY_DIR}/source_revision.cpp)
add_custom_target(sluice_revision BYPRODUCTS ${revision_source} COMMENT "" VERBATIM
    COMMAND ${CMAKE_COMMAND} -DSOURCE=${PROJECT_SOURCE_DIR} -DOUT=${revision_source}
            -P ${CMAKE_CURRENT_LIST_FILE})
target_sources(sluice_src PRIVATE ${revision_source})
add_dependencies(sluice_src sluice_revision)
