# sluice_floor(<folder> LINK <libraries...> [EXCLUDE <files...>]): the library of one floor, from every
# source below its folder.
function(sluice_floor folder)
    cmake_parse_arguments(ARG "" "" "LINK;EXCLUDE" ${ARGN})
    file(GLOB_RECURSE sources CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR}
         ${PROJECT_SOURCE_DIR}/${folder}/*.cpp)
    if(ARG_EXCLUDE)
        list(REMOVE_ITEM sources ${ARG_EXCLUDE})
    endif()
    add_library(sluice_${folder} STATIC ${sources})
    add_library(sluice::${folder} ALIAS sluice_${folder})
    target_link_libraries(sluice_${folder} PUBLIC ${ARG_LINK} sluice_flags)
endfunction()
